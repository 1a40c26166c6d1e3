"""Watermark, order and turns, against plain models."""

from __future__ import annotations

import pytest
from boardd.core.order import FairQueue, Flow, Order
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


def drained(queue: FairQueue[str]) -> list[str]:
    return [taken[1] for taken in iter(queue.pop, None)]


def test_flows_take_turns_and_keep_their_own_order() -> None:
    queue: FairQueue[str] = FairQueue(1)
    busy: Flow[str] = Flow()
    quick: Flow[str] = Flow()
    assert not queue
    for number in range(4):
        queue.push(busy, f"busy{number}")
    queue.push(quick, "quick0")
    assert queue
    assert queue.pop() == (busy, "busy0")
    assert queue.pop() == (quick, "quick0")
    queue.push(quick, "quick1")
    assert drained(queue) == ["busy1", "quick1", "busy2", "busy3"]
    assert not queue


def test_a_flow_with_a_full_window_is_passed_over() -> None:
    queue: FairQueue[str] = FairQueue(10)
    ahead: Flow[str] = Flow()
    other: Flow[str] = Flow()
    for number in range(3):
        queue.push(ahead, f"ahead{number}")
    assert queue.pop() == (ahead, "ahead0")
    queue.made(ahead, 10)
    queue.push(other, "other0")
    assert queue.pop() == (other, "other0")
    assert queue.pop() is None
    queue.push(ahead, "ahead3")
    assert not queue
    assert not queue.used(ahead, 0)
    assert queue.used(ahead, 1)
    assert queue.pop() == (ahead, "ahead1")
    assert not queue.used(ahead, 9)  # it takes turns already
    assert drained(queue) == ["ahead2", "ahead3"]


def test_what_was_made_is_used_before_a_cleared_queue_goes_on() -> None:
    queue: FairQueue[str] = FairQueue(1)
    flow: Flow[str] = Flow()
    queue.push(flow, "gone")
    queue.clear()
    assert queue.pop() is None
    queue.push(flow, "next")
    assert drained(queue) == ["next"]


@pytest.mark.parametrize("is_met", [True, False])
def test_a_cleared_queue_keeps_nothing_of_flows_that_it_passed_over(is_met: bool) -> None:
    queue: FairQueue[str] = FairQueue(1)
    flow: Flow[str] = Flow()
    queue.push(flow, "begun")
    if is_met:  # it fills its window while it has a turn, and loses the turn
        queue.push(flow, "gone")
    assert queue.pop() == (flow, "begun")
    queue.made(flow, 1)
    if not is_met:
        queue.push(flow, "gone")
    assert queue.pop() is None
    queue.clear()
    assert not queue.used(flow, 1)
    assert not flow.waiting
    queue.push(flow, "next")
    assert drained(queue) == ["next"]


def test_a_window_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="0 bytes"):
        FairQueue(0)


@given(st.lists(st.one_of(st.tuples(st.integers(0, 3), st.integers()), st.none()), max_size=60))
def test_no_flow_waits_for_more_than_one_item_of_each_other(script) -> None:
    queue: FairQueue[tuple[int, int]] = FairQueue(1)
    flows: list[Flow[tuple[int, int]]] = [Flow() for _ in range(4)]
    waiting: dict[int, list[tuple[int, int]]] = {key: [] for key in range(4)}
    since: dict[int, dict[int, int]] = {}
    for entry in script:
        if entry is not None:
            queue.push(flows[entry[0]], entry)
            if not waiting[entry[0]]:
                since[entry[0]] = dict.fromkeys(range(4), 0)
            waiting[entry[0]].append(entry)
        elif queue:
            taken = queue.pop()
            assert taken is not None
            flow, item = taken
            key = item[0]
            assert flow is flows[key]
            assert waiting[key].pop(0) == item
            since[key] = dict.fromkeys(range(4), 0)
            for other in range(4):
                if other != key and waiting[other]:
                    since[other][key] += 1
                    assert since[other][key] <= 1
    assert len(drained(queue)) == sum(map(len, waiting.values()))


@given(
    st.lists(
        st.tuples(st.sampled_from(["push", "begin", "finish", "use"]), st.integers(0, 2)),
        max_size=120,
    ),
    st.integers(1, 30),
)
def test_what_all_others_wait_for_is_never_held_up(script, window_bytes: int) -> None:
    """Items are begun in order, made in any, and used in order: all of them, in the end."""
    queue: FairQueue[tuple[int, int]] = FairQueue(window_bytes)
    flows: list[Flow[tuple[int, int]]] = [Flow() for _ in range(3)]
    orders: list[Order[int]] = [Order() for _ in range(3)]
    begun: list[list[int]] = [[] for _ in range(3)]
    pushed, used = [0] * 3, [0] * 3

    def act(action: str, key: int) -> None:
        if action == "push":
            queue.push(flows[key], (key, orders[key].draw()))
            pushed[key] += 1
        elif action == "begin":
            before = [flow.unused_bytes for flow in flows]
            taken = queue.pop()
            if taken is not None:
                flow, (of, ticket) = taken
                assert flow is flows[of]
                assert before[of] < window_bytes
                begun[of].append(ticket)
        elif action == "finish" and begun[key]:
            ticket = begun[key].pop()  # the last one begun: as far out of order as it can be
            size_bytes = 1 + 7 * ticket % 20
            queue.made(flows[key], size_bytes)
            orders[key].complete(ticket, size_bytes)
        elif action == "use" and orders[key].ready:
            queue.used(flows[key], orders[key].release())
            used[key] += 1

    for action, key in script:
        act(action, key)
    for _ in range(3 * len(script)):
        for key in range(3):
            for action in ("begin", "finish", "use"):
                act(action, key)
    assert used == pushed
    assert [flow.unused_bytes for flow in flows] == [0] * 3
