"""Bytes of partials that nobody has encoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from boardd.partials import partials_pb2 as pb
from boardd.partials.codec import decode
from boardd_protos.invalid import InvalidRecordError


def _sum(share: Any) -> None:
    share.scalars.sum.finite.exponent = 800_000_000
    share.scalars.sum.finite.digits = b"\1"


def _edges(share: Any) -> None:
    share.edges_histogram.edges.extend([0.0, 1.0, 2.0])
    share.edges_histogram.counts.extend([1])


def _falling(share: Any) -> None:
    share.edges_histogram.edges.extend([1.0, 0.0])
    share.edges_histogram.counts.extend([1])


def _width(share: Any) -> None:
    share.grid_histogram.bins = 10
    share.grid_histogram.exponent = -1_000_000
    share.grid_histogram.counts.extend([1])


def _buckets(share: Any) -> None:
    share.grid_histogram.bins = 10
    share.grid_histogram.counts.extend(np.ones(200_000, int).tolist())


@pytest.mark.parametrize("spoil", [_sum, _edges, _falling, _width, _buckets])
def test_what_could_not_be_merged_is_no_partial(spoil: Callable[[Any], None]) -> None:
    message = pb.Partial()
    spoil(message.shares.add(rank=0, count=1))
    with pytest.raises(InvalidRecordError):
        decode(message.SerializeToString())
