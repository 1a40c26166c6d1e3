"""Results of several syncs, put together."""

from __future__ import annotations

from boardd.runs.event_files.sync_result import SyncResult

OK = SyncResult(ok=True)


def test_nothing_to_sync_is_durable() -> None:
    assert SyncResult.of_all([]) == OK
    assert SyncResult.of_all([OK, OK]) == OK


def test_every_reason_is_told() -> None:
    failed = [SyncResult(ok=False, reason="a: disk full"), OK, SyncResult(ok=False, reason="b")]
    assert SyncResult.of_all(failed) == SyncResult(ok=False, reason="a: disk full; b")


def test_what_failed_without_a_reason_is_not_durable() -> None:
    assert not SyncResult.of_all([OK, SyncResult(ok=False)]).ok
