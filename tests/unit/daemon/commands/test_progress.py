from __future__ import annotations

import io

import pytest
from boardd.commands.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    now = [0.0]
    terminal = Terminal()
    with ProgressBar("work", 2_000_000, "MB", 1_000_000, terminal, lambda: now[0]) as progress:
        progress.stage("run [red]one")
        progress.advance(1_000_000)
        assert " 50%" not in terminal.getvalue()  # it is not drawn more often than is seen
        now[0] += 1
        progress.advance(500_000)
        assert " 75% of 2 MB" in terminal.getvalue()
        progress.advance(500_000)
    assert "run [red]one" in terminal.getvalue()
    assert "100% of 2 MB" in terminal.getvalue()
    assert terminal.getvalue().rpartition("\n")[2].endswith("\x1b[2K")  # it clears its line


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_others_get_a_line_now_and_then(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    now = [0.0]
    with ProgressBar("work", 4_000_000, "MB", 1_000_000, stream, lambda: now[0]) as progress:
        progress.stage("run")
        for _ in range(4):
            progress.advance(1_000_000)
            now[0] += 6
    assert stream.getvalue().splitlines() == ["work: 75% of 4 MB"]


def test_nothing_to_do_is_all_done() -> None:
    with ProgressBar("work", 0, "MB", stream=io.StringIO()) as progress:
        progress.advance(0)
