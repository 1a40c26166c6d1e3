"""Turns of owners and flows, windows, and the lane of long items, against plain models."""

from __future__ import annotations

from typing import TypeVar

import pytest
from boardd.core.order import Order
from boardd.core.turns import FairQueue, Flow, Turns
from hypothesis import given
from hypothesis import strategies as st

Item = TypeVar("Item")
OWNER = b"owner"


def brief_queue(window_bytes: int) -> FairQueue[Item]:
    return FairQueue(window_bytes, lambda item: False)


def next_of(queue: FairQueue[Item]) -> tuple[Flow[Item], Item] | None:
    taken = queue.pop(may_be_long=False)
    return None if taken is None else (taken.flow, taken.item)


def drained(queue: FairQueue[str]) -> list[str]:
    return [taken[1] for taken in iter(lambda: next_of(queue), None)]


def test_flows_take_turns_and_keep_their_own_order() -> None:
    queue: FairQueue[str] = brief_queue(1)
    busy: Flow[str] = Flow()
    quick: Flow[str] = Flow()
    assert not queue.has_turns
    for number in range(4):
        queue.push(busy, OWNER, f"busy{number}")
    queue.push(quick, OWNER, "quick0")
    assert queue.has_turns
    assert next_of(queue) == (busy, "busy0")
    assert next_of(queue) == (quick, "quick0")
    queue.push(quick, OWNER, "quick1")
    assert drained(queue) == ["busy1", "quick1", "busy2", "busy3"]
    assert not queue.has_turns


def test_a_flow_with_a_full_window_is_passed_over() -> None:
    queue: FairQueue[str] = brief_queue(10)
    ahead: Flow[str] = Flow()
    other: Flow[str] = Flow()
    for number in range(3):
        queue.push(ahead, OWNER, f"ahead{number}")
    assert next_of(queue) == (ahead, "ahead0")
    queue.made(ahead, 10)
    queue.push(other, OWNER, "other0")
    assert next_of(queue) == (other, "other0")
    assert next_of(queue) is None
    queue.push(ahead, OWNER, "ahead3")
    assert not queue.has_turns
    assert not queue.used(ahead, 0)
    assert queue.used(ahead, 1)
    assert next_of(queue) == (ahead, "ahead1")
    assert not queue.used(ahead, 9)  # it takes turns already
    assert drained(queue) == ["ahead2", "ahead3"]


def test_what_was_made_is_used_before_a_cleared_queue_goes_on() -> None:
    queue: FairQueue[str] = brief_queue(1)
    flow: Flow[str] = Flow()
    queue.push(flow, OWNER, "gone")
    queue.clear()
    assert next_of(queue) is None
    queue.push(flow, OWNER, "next")
    assert drained(queue) == ["next"]


@pytest.mark.parametrize("is_met", [True, False])
def test_a_cleared_queue_keeps_nothing_of_flows_that_it_passed_over(is_met: bool) -> None:
    queue: FairQueue[str] = brief_queue(1)
    flow: Flow[str] = Flow()
    queue.push(flow, OWNER, "begun")
    if is_met:  # it fills its window while it has a turn, and loses the turn
        queue.push(flow, OWNER, "gone")
    assert next_of(queue) == (flow, "begun")
    queue.made(flow, 1)
    if not is_met:
        queue.push(flow, OWNER, "gone")
    assert next_of(queue) is None
    queue.clear()
    assert not queue.used(flow, 1)
    assert not flow.waiting
    queue.push(flow, OWNER, "next")
    assert drained(queue) == ["next"]


def test_a_window_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="0 bytes"):
        brief_queue(0)


@given(st.lists(st.one_of(st.tuples(st.integers(0, 3), st.integers()), st.none()), max_size=60))
def test_no_flow_waits_for_more_than_one_item_of_each_other(script) -> None:
    queue: FairQueue[tuple[int, int]] = brief_queue(1)
    flows: list[Flow[tuple[int, int]]] = [Flow() for _ in range(4)]
    waiting: dict[int, list[tuple[int, int]]] = {key: [] for key in range(4)}
    since: dict[int, dict[int, int]] = {}
    for entry in script:
        if entry is not None:
            queue.push(flows[entry[0]], OWNER, entry)
            if not waiting[entry[0]]:
                since[entry[0]] = dict.fromkeys(range(4), 0)
            waiting[entry[0]].append(entry)
        elif queue.has_turns:
            taken = next_of(queue)
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
    queue: FairQueue[tuple[int, int]] = brief_queue(window_bytes)
    flows: list[Flow[tuple[int, int]]] = [Flow() for _ in range(3)]
    orders: list[Order[int]] = [Order() for _ in range(3)]
    begun: list[list[int]] = [[] for _ in range(3)]
    pushed, used = [0] * 3, [0] * 3

    def act(action: str, key: int) -> None:
        if action == "push":
            queue.push(flows[key], OWNER, (key, orders[key].draw()))
            pushed[key] += 1
        elif action == "begin":
            before = [flow.unused_bytes for flow in flows]
            taken = next_of(queue)
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


@given(st.lists(st.one_of(st.integers(0, 4), st.none()), max_size=80))
def test_no_owner_waits_for_more_than_one_item_of_each_other(script) -> None:
    turns: Turns[int] = Turns()
    waiting = [0] * 5
    since: list[dict[int, int]] = [{} for _ in range(5)]
    for owner in script:
        if owner is not None:
            if not waiting[owner]:
                since[owner] = dict.fromkeys(range(5), 0)
            turns.add(owner, owner)
            waiting[owner] += 1
        elif turns:
            taken = turns.take()
            turns.end_turn(taken)
            waiting[taken] -= 1
            since[taken] = dict.fromkeys(range(5), 0)
            for other in range(5):
                if other != taken and waiting[other]:
                    since[other][taken] += 1
                    assert since[other][taken] <= 1
    assert len(turns.clear()) == sum(waiting)
    assert not turns


def test_an_owner_with_many_flows_has_no_more_turns_than_another() -> None:
    queue: FairQueue[str] = brief_queue(1)
    for number in range(3):
        queue.push(Flow(), b"many", f"many{number}")
    single: Flow[str] = Flow()
    for number in range(3):
        queue.push(single, b"one", f"one{number}")
    assert drained(queue) == ["many0", "one0", "many1", "one1", "many2", "one2"]


def test_a_flow_stands_for_the_owner_of_its_next_item() -> None:
    queue: FairQueue[str] = brief_queue(1)
    common: Flow[str] = Flow()
    queue.push(common, b"a", "a0")
    queue.push(common, b"b", "b0")
    queue.push(common, b"a", "a1")
    other: Flow[str] = Flow()
    for number in range(2):
        queue.push(other, b"b", f"own{number}")
    assert drained(queue) == ["a0", "own0", "b0", "own1", "a1"]


def test_long_items_wait_in_a_lane_of_their_own_and_cost_their_owner_no_turn() -> None:
    queue: FairQueue[str] = FairQueue(1, lambda item: item.startswith("long"))
    for number in range(2):
        queue.push(Flow(), b"a", f"long{number}")
    behind: Flow[str] = Flow()
    queue.push(behind, b"a", "long2")
    queue.push(behind, b"a", "behind")
    queue.push(Flow(), b"a", "brief")
    queue.push(Flow(), b"b", "other")
    assert drained(queue) == ["brief", "other"]
    assert queue.has_long_turns
    assert not queue.has_turns
    found = [queue.pop_long() for _ in range(4)]
    assert [taken and (taken.item, taken.is_long) for taken in found] == [
        ("long0", True),
        ("long1", True),
        ("long2", True),
        None,
    ]
    assert drained(queue) == ["behind"]


def test_a_long_item_may_be_taken_at_once() -> None:
    queue: FairQueue[str] = FairQueue(1, lambda item: True)
    queue.push(Flow(), OWNER, "long")
    taken = queue.pop(may_be_long=True)
    assert taken is not None
    assert taken.is_long


def test_flows_that_wait_for_a_stuck_disk_leave_a_part_of_the_budget_to_others() -> None:
    queue: FairQueue[int] = FairQueue(100, lambda item: False, budget_bytes=160)
    flows = [Flow[int]() for _ in range(8)]
    for flow in flows:
        for number in range(20):
            queue.push(flow, flow, number)
    made = dict.fromkeys(flows, 0)
    while (taken := queue.pop(may_be_long=False)) is not None:
        queue.made(taken.flow, 10)
        made[taken.flow] += 10
    assert min(made.values()) >= 10, "each has its first"
    assert sum(made.values()) <= 160 + 8 * 10
    # One whose results are used goes on, whatever the others hold.
    for _ in range(5):
        queue.used(flows[3], flows[3].unused_bytes)
        again = queue.pop(may_be_long=False)
        assert again is not None
        assert again.flow is flows[3]
        queue.made(flows[3], 10)
