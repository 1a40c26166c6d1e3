"""From the time at which a point was opened to the entries that it may need."""

from __future__ import annotations

from boardd.runs.journal.journal_ages import JournalAges


def test_no_entry_of_an_open_point_is_let_go() -> None:
    ages = JournalAges()
    for second in range(10):
        ages.note(float(second), 100 * second)
        ages.note(second + 0.5, 100 * second + 50)  # too soon after the last
    assert ages.oldest_open(3.7, 1000) == 300
    assert ages.oldest_open(5.0, 1000) == 500
    assert ages.oldest_open(None, 1000) == 1000, "nothing is open"


def test_before_the_first_note_everything_is_needed() -> None:
    ages = JournalAges()
    assert ages.oldest_open(-5.0, 7) == 0
    ages.note(0.0, 7)
    assert ages.oldest_open(-1.0, 9) == 0
