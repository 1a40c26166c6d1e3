"""What another daemon tells of is of a bounded size, whoever it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from boardd.core.runs.marks import KEY_BYTES
from boardd.runs.journal.journal_entries import JournalError, encode_entry
from boardd.runs.journal.relayed_entries import NumberedEntry, decode_relayed, encode_relayed
from support.relayed_life import member


@pytest.mark.parametrize("size_bytes", [1, KEY_BYTES - 1, KEY_BYTES + 1])
def test_a_session_is_called_by_a_key(size_bytes: int) -> None:
    joined = replace(member(b"session", 0, 1), session=bytes(size_bytes))
    entry = NumberedEntry(0, joined, encode_entry(joined))
    data = encode_relayed([entry], [], {joined.session: joined})
    with pytest.raises(JournalError, match=f"a session of {size_bytes} bytes; {KEY_BYTES} are"):
        decode_relayed(data)
