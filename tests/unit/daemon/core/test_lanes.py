"""Which threads make brief items and which make long ones."""

from __future__ import annotations

from boardd.core.lanes import THREADS_PER_LONG_ONE, Lanes
from boardd.core.turns import FairQueue, Flow, Taken
from hypothesis import given
from hypothesis import strategies as st


def is_long(item: str) -> bool:
    return item.startswith("long")


def lanes_of(max_threads: int) -> Lanes[str]:
    return Lanes(FairQueue(1, is_long), max_threads)


def test_with_one_thread_a_second_makes_what_is_long() -> None:
    lanes = lanes_of(1)
    for number in range(2):
        lanes.push(Flow(), b"a", f"long{number}")
    assert lanes.reserve(1) == 1
    slow = lanes.take()
    assert slow is not None
    assert slow.item == "long0"
    lanes.push(Flow(), b"b", "brief0")
    assert lanes.reserve(1) == 1
    brief = lanes.take()
    assert brief is not None
    assert brief.item == "brief0"
    assert lanes.reserve(2) == 0
    lanes.made(brief, 0)
    assert lanes.take() is None  # the other long one waits
    assert lanes.reserve(2) == 0
    lanes.made(slow, 0)
    following = lanes.take()
    assert following is not None
    assert following.item == "long1"
    lanes.made(following, 0)
    assert lanes.take() is None
    assert not lanes.is_at_work


@given(
    st.integers(1, 9),
    st.lists(
        st.tuples(st.sampled_from(["brief", "long", "reserve", "take", "made"]), st.integers(0, 3)),
        max_size=150,
    ),
)
def test_threads_are_bounded_and_everything_is_made(max_threads: int, script) -> None:
    lanes = lanes_of(max_threads)
    max_long = max(1, max_threads // THREADS_PER_LONG_ONE)
    ready, at_work, pushed, made = 0, list[Taken[str]](), 0, 0

    def act(action: str, number: int) -> None:
        nonlocal ready, pushed, made
        if action in ("brief", "long"):
            lanes.push(Flow(), number, f"{action}{pushed}")
            pushed += 1
        elif action == "reserve":
            ready += lanes.reserve(max_threads)
        elif action == "take" and ready:
            ready -= 1
            taken = lanes.take()
            if taken is not None:
                at_work.append(taken)
        elif action == "made" and at_work:
            taken = at_work.pop(number % len(at_work))
            lanes.made(taken, 0)
            made += 1
            ready += 1
        long = sum(taken.is_long for taken in at_work)
        assert long <= max_long
        assert len(at_work) - long <= max_threads
        assert len(at_work) <= lanes.max_threads
        if action == "reserve" and lanes.queue.has_turns:
            assert ready or len(at_work) > long, "a brief item waits, and no thread is for it"

    for action, number in script:
        act(action, number)
    for _ in range(2 * len(script) + 1):
        for action in ("reserve", "take", "made"):
            act(action, 0)
    assert made == pushed
    assert not at_work
