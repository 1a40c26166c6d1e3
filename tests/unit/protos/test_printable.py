"""What a peer wrote, as it may be shown."""

from __future__ import annotations

from boardd.core.session.rejections import MAX_MESSAGE, Rejection, Rejections
from boardd_protos.printable import printable
from hypothesis import given
from hypothesis import strategies as st


@given(st.text(st.characters()))
def test_what_is_shown_is_printable_and_printable_text_stays(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert (shown == text) == text.isprintable()


def test_a_rejection_says_nothing_that_a_terminal_obeys() -> None:
    rejections = Rejections()
    rejections.add(Rejection(1, 1, 8, "tag 'a\n\x1b[2J'" + "\n" * MAX_MESSAGE, 1))
    (waiting,) = rejections.waiting
    assert waiting.message.isprintable()
    assert len(waiting.message) <= MAX_MESSAGE
