"""What a job's merged run must show, computed by NumPy from what each rank says it logged.

Shares nothing with the daemon's algebra: means are fractions, histograms ``numpy.histogram``.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from support.tensorboard_reader import Loader, open_reader, read_events

#: By tag, what a rank has logged, one row a point.
Logged = dict[str, np.ndarray]


@dataclass(frozen=True)
class MergedJob:
    """A job that is over: its logdir, its run there, and what each rank logged.

    Scalars were logged at every step, histograms at every ``histogram_steps``-th.
    """

    logdir: Path
    run: str
    ranks: list[Logged]
    histogram_steps: int

    @classmethod
    def load(cls, logdir: Path, run: str, dump: Path, *, histogram_steps: int) -> MergedJob:
        """Reads ``dump/rank_<r>.npz`` of every rank."""
        ranks: list[Logged] = []
        while (path := dump / f"rank_{len(ranks)}.npz").exists():
            with np.load(path) as arrays:
                ranks.append({tag: arrays[tag].astype(np.float64) for tag in arrays.files})
        return cls(logdir, run, ranks, histogram_steps)

    def values(self, tag: str) -> np.ndarray:
        """Returns float64[points, ranks, ...] of ``tag``."""
        return np.stack([logged[tag] for logged in self.ranks], axis=1)

    def check_curves(self, tag: str, loader: Loader) -> None:
        """The curves of ``tag``: the mean, the extremes, and each rank's own."""
        with open_reader(self.logdir, loader) as reader:
            runs = reader.scalars()
        by_rank = self.values(tag).reshape(-1, len(self.ranks))
        wanted = {
            self.run: [_exact_mean(row) for row in by_rank],
            f"{self.run}/min": by_rank.min(axis=1).tolist(),
            f"{self.run}/max": by_rank.max(axis=1).tolist(),
            **{f"{self.run}/rank_{r}": by_rank[:, r].tolist() for r in range(len(self.ranks))},
        }
        for run, values in wanted.items():
            points = runs[run][tag]
            assert [point.step for point in points] == list(range(len(values))), run
            shown = np.array([point.value for point in points], np.float32)
            np.testing.assert_array_equal(shown, np.array(values).astype(np.float32), run)

    def check_histograms(self, tag: str, loader: Loader) -> None:
        """The histograms of ``tag`` count all ranks' values, as NumPy does on the edges shown."""
        with open_reader(self.logdir, loader) as reader:
            shown = reader.histograms()[self.run][tag]
        written = {
            event.step: value.histo
            for event in read_events(self.logdir / self.run)
            for value in event.summary.value
            if value.tag == tag
        }
        points = self.values(tag)
        steps = [self.histogram_steps * index for index in range(len(points))]
        assert list(written) == [point.step for point in shown] == steps, tag
        for point, histogram, values in zip(shown, written.values(), points, strict=True):
            moments = histogram.num, histogram.min, histogram.max
            assert moments == (values.size, values.min(), values.max()), f"{tag} at {point.step}"
            counts, _ = np.histogram(values, bins=[-np.inf, *histogram.bucket_limit])
            assert counts.sum() == values.size, "a value is in no bucket"
            np.testing.assert_array_equal(
                histogram.bucket, counts, f"{tag} at {point.step}, as it is written"
            )
            # TensorBoard leaves out what is empty at both ends.
            inside = slice(counts.nonzero()[0][0], counts.nonzero()[0][-1] + 1)
            np.testing.assert_array_equal(
                np.trim_zeros(point.buckets[:, 2]), counts[inside], f"{tag} at {point.step}"
            )

    def check_that_all_ranks_made_every_point(self, loader: Loader) -> None:
        """The group's own curve of how many ranks each step has."""
        with open_reader(self.logdir, loader) as reader:
            points = reader.scalars()[self.run]["boardd/group/coverage"]
        counts = {point.value for point in points}
        assert counts == {len(self.ranks)}, f"points were made by {counts} ranks"


def _exact_mean(values: np.ndarray) -> float:
    return float(sum(map(Fraction, values.tolist()), Fraction()) / len(values))
