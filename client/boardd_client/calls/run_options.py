"""What a writer's arguments say of its run, checked, and the run that they define."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.merging import PER_RANK, REDUCTIONS

from boardd_client.calls import arguments

#: Seconds between two measurements, if the writer does not say.
SYSTEM_METRICS_SECS: Final = 15.0


@dataclass(frozen=True)
class RunOptions:
    """Of the run ``name`` in its log directory, in the words of ``RunDefinition``."""

    name: str
    filename_suffix: str
    purge_step: int | None
    sync: str | float | None  #: as it was given
    reduce: str
    per_rank: str
    keep_tags: bool = False
    system_metrics: bool | float = False  #: as it was given
    provenance: bool = False

    @classmethod
    def checked(
        cls,
        *,
        run: object,
        filename_suffix: object,
        purge_step: object,
        sync: Any,
        reduce: object,
        per_rank: object,
        keep_tags: object = False,
        system_metrics: object = False,
        provenance: object = False,
    ) -> RunOptions:
        """Checks arguments of ``SummaryWriter``.

        Raises ``TypeError`` and ``ValueError`` for those that are not as described there.
        """
        arguments.sync(sync)
        return cls(
            name=arguments.run(run),
            filename_suffix=arguments.filename_suffix(filename_suffix),
            purge_step=arguments.purge_step(purge_step),
            sync=sync,
            reduce=arguments.choice(reduce, "reduce", REDUCTIONS),
            per_rank=arguments.choice(per_rank, "per_rank", PER_RANK),
            keep_tags=bool(keep_tags),
            system_metrics=arguments.system_metrics(system_metrics),
            provenance=bool(provenance),
        )

    def definition(self, logdir: str) -> pb.RunDefinition:
        """The run in ``logdir``; who writes it is left out."""
        sync_secs, sync_on_flush = arguments.sync(self.sync)
        return pb.RunDefinition(
            logdir=logdir,
            name=self.name,
            filename_suffix=self.filename_suffix,
            purge_step=self.purge_step,
            sync_secs=sync_secs,
            sync_on_flush=sync_on_flush,
            reduce=self.reduce,
            per_rank=self.per_rank,
            tags_as_given=self.keep_tags,
            system_metrics_secs=(
                SYSTEM_METRICS_SECS if self.system_metrics is True else self.system_metrics
            ),
        )

    def arguments(self) -> dict[str, Any]:
        """The arguments of a writer that has the same."""
        return {
            "run": self.name or None,
            "filename_suffix": self.filename_suffix,
            "purge_step": self.purge_step,
            "sync": self.sync,
            "reduce": self.reduce,
            "per_rank": self.per_rank,
            "keep_tags": self.keep_tags,
            "system_metrics": self.system_metrics,
            "provenance": self.provenance,
        }
