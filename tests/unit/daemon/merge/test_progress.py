from __future__ import annotations

import io

from boardd.merge.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar() -> None:
    terminal = Terminal()
    with Progress(2000, terminal) as progress:
        progress.stage("run")
        progress.advance(2000)
    assert "run" in terminal.getvalue()
    assert "/2.00k" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")  # it clears its line


def test_others_get_a_line_now_and_then() -> None:
    now = [0.0]
    stream = io.StringIO()
    with Progress(4_000_000, stream, clock=lambda: now[0]) as progress:
        for _ in range(4):
            progress.advance(1_000_000)
            now[0] += 6
    assert stream.getvalue().splitlines() == ["boardd merge: 75% of 4 MB"]


def test_nothing_to_read_is_all_done() -> None:
    with Progress(0, io.StringIO()) as progress:
        progress.advance(0)
