"""What is logged of the soundness of watched tensors, and how the custom scalars page shows it.

The daemon measures: each record of histograms names its tensors, and which of the step's
records it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from boardd_client.calls.batches import Watched
from boardd_client.writer import SummaryWriter

#: What ``watch`` puts first in a tensor's tag, behind the prefix.
GROUPS: Final = ("gradients", "parameters")
_CATEGORY: Final = "Health"


class Health:
    """The health of tensors whose tags begin with ``prefix`` and one of ``GROUPS``.

    It is shown under ``<prefix>health``:

    - ``health/gradients/norm`` and its ``log10_norm``, ``zeros`` (a share from 0 to 1), ``nan`` and
      ``infinite`` (counts) of all gradients together; the same of parameters;
    - ``health/gradients/log10_norm/<name>`` and ``zeros/<name>`` of each tensor;
    - the text ``health/first_nan``: where the first NaN or infinity of the run was.

    Norms are of the finite elements. The run's layout of the custom scalars page becomes one
    of these series.
    """

    def __init__(self, writer: SummaryWriter, prefix: str) -> None:
        self._writer = writer
        self._prefix = prefix
        self._tag = f"{prefix}health"
        self._is_laid_out = False
        self._names: dict[str, str] = {}

    def watched(self, tags: Iterable[str]) -> Watched:
        """Returns how tensors of these tags are logged; lays the page out at the first call."""
        show = self._writer._shown_tag
        shown = show(self._tag)
        if not self._is_laid_out:
            self._is_laid_out = True
            self._writer.add_custom_scalars({_CATEGORY: layout(shown)})
        for tag in tags:
            if tag not in self._names:
                self._names[tag] = show(tag[len(self._prefix) :])
        return Watched(shown, self._names)


def layout(tag: str) -> dict[str, list[Any]]:
    """The charts of what is shown under ``tag``, as ``add_custom_scalars`` takes them."""
    known = re.escape(tag)
    charts: dict[str, list[Any]] = {}
    for group in GROUPS:
        charts[f"log10 of the norm of all {group}"] = [
            "Multiline",
            [f"^{known}/{group}/log10_norm$"],
        ]
        charts[f"log10 of norms of {group}"] = ["Multiline", [f"^{known}/{group}/log10_norm/"]]
        charts[f"zeros among {group}"] = ["Multiline", [f"^{known}/{group}/zeros"]]
        charts[f"NaN and infinity among {group}"] = [
            "Multiline",
            [f"^{known}/{group}/(nan|infinite)$"],
        ]
    return charts
