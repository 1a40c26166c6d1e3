"""What an acknowledgement says: up to where a session's records are done, but for some runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from boardd_protos import boardd_pb2 as pb


class Span(Protocol):
    """Records of some runs, which one acknowledgement must cover together."""

    @property
    def sequence(self) -> int:
        """The first one's."""

    @property
    def last_sequence(self) -> int:
        """The last one's."""

    @property
    def runs(self) -> tuple[int, ...]:
        """The client's numbers of their runs; none if they are not known."""


class HeldRun(NamedTuple):
    """A run of which records are out that others do not wait for."""

    run: int
    first_sequence: int  #: all before this are done
    trouble: str


class Settled(NamedTuple):
    """All up to ``written_sequence`` is done, and up to ``settled_sequence`` all but ``held``."""

    written_sequence: int
    settled_sequence: int = 0  #: above ``written_sequence``, or 0
    held: tuple[HeldRun, ...] = ()

    def covers(self, last_sequence: int, runs: tuple[int, ...]) -> bool:
        """Whether records of ``runs`` up to ``last_sequence``, which are done, are in it.

        Those of no known run wait for no run.
        """
        if last_sequence <= self.written_sequence:
            return True
        return last_sequence <= self.settled_sequence and not any(
            held.run in runs and held.first_sequence <= last_sequence for held in self.held
        )

    def outside(self, spans: Iterable[Span]) -> Settled:
        """As much of it as ends inside of none of ``spans``."""
        found, narrower = self, self
        while (narrower := narrower._outside_once(spans)) != found:
            found = narrower
        return found

    def _outside_once(self, spans: Iterable[Span]) -> Settled:
        written, settled, firsts = self.written_sequence, self.settled_sequence, dict[int, int]()
        for span in spans:
            first, last = span.sequence, span.last_sequence
            if first <= written < last:
                written = first - 1
            reaches = {
                held.run: held.first_sequence
                for held in self.held
                if held.run in span.runs and held.first_sequence <= last
            }
            if reaches and max(reaches.values()) > first:
                firsts.update((run, min(first, firsts.get(run, first))) for run in reaches)
            elif not reaches and first <= settled < last:
                settled = first - 1
        held = tuple(
            known._replace(first_sequence=min(known.first_sequence, firsts[known.run]))
            if known.run in firsts
            else known
            for known in self.held
        )
        if settled <= written:
            return Settled(written)
        return Settled(written, settled, held)

    def message(self) -> pb.Acknowledged:
        """As it is told."""
        return pb.Acknowledged(
            written_sequence=self.written_sequence,
            settled_sequence=self.settled_sequence,
            held=[
                pb.HeldRun(run=held.run, first_sequence=held.first_sequence, trouble=held.trouble)
                for held in self.held
            ],
        )
