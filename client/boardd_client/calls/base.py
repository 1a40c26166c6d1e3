"""What the calls need from a writer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from boardd_protos.summary_kind import SummaryKind

from boardd_client.calls.arguments import Bins
from boardd_client.calls.batches import Watched
from boardd_client.capture import Tensor

#: Tensors, each with the tag that it is logged under.
TaggedTensors = Sequence[tuple[str, Tensor]]


class Place(Protocol):
    """Where the writer's process stands among others."""

    @property
    def is_one_of_several(self) -> bool:
        """Whether what it logs is merged with what others log."""


class Calls(ABC):
    """Checks arguments and makes payloads; a writer logs them."""

    _ranks: Place

    @abstractmethod
    def _wall_time(self) -> float:
        """The time now, in seconds since the epoch."""

    @abstractmethod
    def _log_summary(
        self,
        tag: str,
        step: int,
        payload: bytes,
        tensors: Sequence[Tensor] = (),
        *,
        kind: SummaryKind | None,
        names: tuple[str, ...] = (),
        walltime: object = None,
        sub_run: str = "",
    ) -> None:
        """Logs one record under a tag, with the tensors that the payload describes.

        It is shown as a ``kind`` under the tags ``names``, or under ``tag`` if there are
        none; ``kind`` is None if nothing is shown under a tag.

        Raises ``ValueError`` if one of the tags is another kind already, and as
        ``arguments.wall_time`` does.
        """

    @abstractmethod
    def _log_histograms(
        self,
        histograms: TaggedTensors,
        step: int,
        bins: Bins,
        walltime: object,
        watched: Watched | None = None,
    ) -> None:
        """Logs histograms, each a tag and its values, in as few records as that takes.

        Raises as ``_log_summary``, and has logged nothing then. With ``watched``, a tag that
        is another kind is refused there instead.
        """

    @abstractmethod
    def _log_scalar_tensor(
        self, tag: str, step: int, payload: bytes, tensor: Tensor, walltime: object
    ) -> None:
        """Logs a scalar that is stored as a tensor, or as a plain one if the daemon is older.

        Raises as ``_log_summary``.
        """

    @abstractmethod
    def _shown_tag(self, tag: str) -> str:
        """The tag that TensorBoard shows for ``tag``."""

    @abstractmethod
    def _log_number(
        self,
        tag: str,
        step: int,
        value: float | Tensor,
        *,
        sub_run: str,
        walltime: object = None,
    ) -> None:
        """Logs a scalar of a sub-run; a tensor must have one element.

        Raises ``ValueError`` if the tag is another kind already.
        """
