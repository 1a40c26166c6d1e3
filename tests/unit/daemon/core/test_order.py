"""Watermark and order, against plain models."""

from __future__ import annotations

import pytest
from boardd.core.order import Order
from boardd.core.session.watermark import Watermark
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.integers(1, 5), max_size=20), st.randoms(), st.integers(0, 2**62))
def test_watermark_is_the_end_of_the_unbroken_prefix(lengths, random, start) -> None:
    ranges = []
    first = start + 1
    for length in lengths:
        ranges.append((first, first + length - 1))
        first += length
    random.shuffle(ranges)
    watermark = Watermark(start)
    done: set[int] = set()
    for first, last in ranges:
        before = watermark.written_sequence
        moved = watermark.finish(first, last)
        done.update(range(first, last + 1))
        expected = start
        while expected + 1 in done:
            expected += 1
        assert watermark.written_sequence == expected
        assert moved == (expected > before)


@pytest.mark.parametrize("again", [(1, 1), (2, 3), (5, 6), (9, 8)])
def test_watermark_refuses_what_is_finished_or_empty(again: tuple[int, int]) -> None:
    watermark = Watermark()
    watermark.finish(1, 3)
    watermark.finish(5, 6)
    with pytest.raises(ValueError, match=f"{again[0]} to {again[1]}"):
        watermark.finish(*again)
    assert watermark.written_sequence == 3


@given(st.permutations(range(12)), st.integers(0, 12))
def test_results_are_released_in_ticket_order(finishing, early) -> None:
    order: Order[int] = Order()
    tickets = [order.draw() for _ in range(12)]
    released = []
    for position, at in enumerate(finishing):
        order.complete(tickets[at], at)
        if position >= early:
            while order.ready:
                assert order.peek() == len(released)
                released.append(order.release())
    while order.ready:
        released.append(order.release())
    assert released == list(range(12))
    assert len(order) == 0


def test_order_refuses_wrong_tickets() -> None:
    order: Order[str] = Order()
    first, second = order.draw(), order.draw()
    assert not order.ready
    with pytest.raises(IndexError):
        order.release()
    with pytest.raises(IndexError):
        order.peek()
    order.complete(second, "b")
    assert not order.ready
    order.complete(first, "a")
    assert order.release() == "a"
    for ticket in (first, second, second + 1, -1):
        with pytest.raises(ValueError, match=str(ticket)):
            order.complete(ticket, "again")
    assert order.release() == "b"


def test_a_result_may_be_none() -> None:
    order: Order[None] = Order()
    order.append(None)
    assert order.ready
    assert order.release() is None
