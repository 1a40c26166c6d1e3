"""What a peer wrote, as it may be shown: in a log, on a terminal, in an error."""

from __future__ import annotations


def printable(text: str) -> str:
    """Returns ``text`` with each character that is not printable escaped as Python does it.

    So a line of the result is one line, and a terminal obeys nothing in it. Printable text is
    returned as it is.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def counted(number: int, noun: str) -> str:
    """Returns ``number`` with its noun, in the plural unless it is 1."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
