"""What fails is asked ever less, by itself or with its whole store."""

from __future__ import annotations

from pathlib import Path

from boardd.shipping.backoff import Backoff

A, B = Path("/spool/s3/bucket/a"), Path("/spool/s3/bucket/b")


def test_a_directory_is_left_alone_by_itself_and_ever_longer() -> None:
    backoff = Backoff()
    now = 0.0
    waits = []
    for _ in range(11):
        backoff.failed(A, "no", now)
        backoff.pass_ended(now, has_failed=True)
        assert backoff.is_store_due(now)
        assert backoff.is_due(B, now)
        assert not backoff.is_due(A, now)
        assert backoff.retry_at is not None
        waits.append(backoff.retry_at - now)
        now = backoff.retry_at
        assert backoff.is_due(A, now)
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert backoff.error == "no"
    backoff.succeeded(A)
    assert (backoff.error, backoff.retry_at) == ("", None)


def test_a_store_that_takes_nothing_is_left_alone() -> None:
    backoff = Backoff()
    for path in (A, B):
        backoff.failed(path, "away", 0.0)
    backoff.pass_ended(0.0, has_failed=True)
    assert not backoff.is_store_due(0.5)
    assert backoff.is_store_due(1.0)
    backoff.store_answered()
    assert backoff.is_store_due(0.5)
    backoff.failed(A, "no", 1.0)
    backoff.pass_ended(1.0, has_failed=True)
    assert backoff.is_store_due(1.0), "one alone may be at fault itself"
