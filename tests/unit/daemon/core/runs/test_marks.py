from __future__ import annotations

from boardd.core.runs.drop_reasons import MAX_DROP_REASONS
from boardd.core.runs.marks import NO_SESSION, Marks, drops_key, session_key


def test_a_mark_only_rises() -> None:
    run = Marks()
    assert run.sequence(b"a") == 0
    run.advance(b"a", 7)
    run.advance(b"a", 5)
    run.advance(b"b", 1)
    assert (run.sequence(b"a"), run.sequence(b"b")) == (7, 1)


def test_a_key_tells_no_session_id() -> None:
    secret = bytes(range(16))
    keys = session_key(secret), drops_key(secret), session_key(bytes(16))
    assert len(set(keys)) == 3
    assert all(len(key) == 16 and secret not in key for key in keys)


def test_the_oldest_are_forgotten_first() -> None:
    run = Marks(max_marks=3)
    for key in (b"a", b"b", b"c"):
        run.advance(key, 1)
    run.advance(b"a", 2)
    run.advance(b"d", 1)
    assert [key for key, _ in run] == [b"c", b"a", b"d"]
    assert run.sequence(b"b") == 0


def test_few_sessions_that_ended_are_remembered() -> None:
    run = Marks(max_ended=1)
    for key in (b"a", b"b", b"c"):
        run.advance(key, 1)
    run.end(b"never wrote")
    run.end(b"b")
    run.end(b"b")
    assert [(key, mark.has_ended) for key, mark in run.take_untold()] == [(b"b", True)]
    run.advance(b"b", 2)
    run.end(b"a")
    run.end(b"c")
    assert [key for key, _ in run] == [b"b", b"c"]
    assert [key for key, _ in run.take_untold()] == [b"c"]
    assert run.take_untold() == []


def test_drops_outlive_their_session() -> None:
    run = Marks(max_marks=1)
    run.drop(b"a", {"full": 3})
    run.drop(b"a", {"full": 5, "other": 1})
    run.drop(b"a", {"full": 4})
    assert run.total_dropped(b"a", {"full": 6}) == {"full": 6}
    assert run.total_dropped(b"b", {"full": 1}) == {"full": 6, "other": 1}
    run.drop(b"b", {"full": 1})
    assert [key for key, _ in run] == [NO_SESSION, b"b"]
    assert run.total_dropped(b"b", {"full": 2}) == {"full": 7, "other": 1}
    again = Marks()
    for key, mark in run:
        again.drop(key, mark.dropped)
    assert again.total_dropped(b"c", {}) == run.total_dropped(b"c", {}) == {"full": 6, "other": 1}


def test_reasons_that_a_source_makes_up_take_bounded_memory() -> None:
    run = Marks(max_marks=2)
    for number in range(1000):
        run.drop(b"%d" % (number % 4), {f"reason {number}": 1})
    for number in range(1000):
        run.drop(b"0", {f"reason {number}": 1})
        run.drop(NO_SESSION, {f"further reason {number}": 1})
    dropped = [mark.dropped for _, mark in run]
    assert len(dropped) == 3
    assert all(len(counts) <= MAX_DROP_REASONS + 1 for counts in dropped)
    assert len(run.total_dropped(b"none", {})) <= MAX_DROP_REASONS + 1
