from __future__ import annotations

from boardd_client.memory.ring import Ring
from boardd_client.session.scalar_history import ScalarHistory
from boardd_protos.frame import FrameKind

ROW_BYTES = 28


def frames(*series: int, payloads: bool = False) -> tuple[memoryview, int]:
    """Scalars of the given series, steps counted from 0; with longer frames in between or not."""
    log = Ring(memoryview(bytearray(1 << 20)))
    for step, number in enumerate(series):
        log.append_scalar(number, step, 100.0 + step, step / 2)
        if payloads:
            log.append(FrameKind.SUMMARY, number, step, 0.0, b"payload" * (step % 3))
    return log.read(0, 1 << 40, 1 << 30)


def test_scalars_are_exported_by_name_in_the_order_they_were_logged() -> None:
    history = ScalarHistory(1 << 16)
    history.observe(*frames(1, 2, 1, 3))
    history.observe(*frames(2, payloads=True))
    assert history.export({1: "a", 2: "b"}) == {
        "a": [[100.0, 0, 0.0], [102.0, 2, 1.0]],
        "b": [[101.0, 1, 0.5], [100.0, 0, 0.0]],
    }


def test_only_scalars_are_kept_of_mixed_frames() -> None:
    history = ScalarHistory(1 << 20)
    history.observe(*frames(*[1] * 100, payloads=True))
    rows = history.export({1: "a"})["a"]
    assert [step for _, step, _ in rows] == list(range(100))


def test_past_the_budget_the_oldest_are_lost_and_counted() -> None:
    history = ScalarHistory(10_000 * ROW_BYTES)
    for _ in range(3):
        history.observe(*frames(*[1] * 6000))
    rows = history.export({1: "a"})["a"]
    assert len(rows) <= 10_000
    assert len(rows) + history.lost == 18_000
    assert [step for _, step, _ in rows[-6000:]] == list(range(6000))


def test_clearing_forgets_some_series_and_keeps_the_others() -> None:
    history = ScalarHistory(1 << 20)
    history.observe(*frames(*[1, 2] * 5000))
    history.clear([1])
    assert list(history.export({1: "a", 2: "b"})) == ["b"]
    assert len(history.export({2: "b"})["b"]) == 5000
    history.observe(*frames(1))
    assert len(history.export({1: "a"})["a"]) == 1


def test_a_budget_of_nothing_keeps_nothing() -> None:
    assert not ScalarHistory(0).is_enabled
