"""The log's header and its entries, byte by byte."""

from __future__ import annotations

import struct

import pytest
from boardd_protos.log_file import (
    ACKNOWLEDGED_OFFSET,
    DEFINITIONS_USED_OFFSET,
    FREED_OFFSET,
    LOG_HEADER_BYTES,
    LogFileError,
    LogHeader,
    LogWords,
    decode_entries,
    decode_words,
    encode_entry,
)

HEADER = LogHeader(bytes(range(16)), 7, 4096, 96, 8192, 100, "host", "train.py", "unix:/s", "/l")
GOLDEN = (
    b"boardlog"
    + bytes(range(16))
    + struct.pack("<II4Q", 2, 7, 4096, 96, 8192, 100)
    + struct.pack("<6Q", 0, 0, 0, 0, 0, 0)
    + struct.pack("<4H", 4, 8, 7, 2)
    + b"hosttrain.pyunix:/s/l"
)


def test_the_header_has_this_layout() -> None:
    data = HEADER.encode()
    assert data == GOLDEN.ljust(LOG_HEADER_BYTES, b"\0")
    assert LogHeader.decode(data) == HEADER
    assert HEADER.parked_offset == 12288
    assert HEADER.size_bytes == 12288 + 96


def test_long_texts_are_cut_between_characters() -> None:
    long = HEADER._replace(hostname="é" * 4000, program="x" * 4000, address="a" * 4000, path="/p")
    data = long.encode()
    assert len(data) == LOG_HEADER_BYTES
    found = LogHeader.decode(data)
    assert set(found.hostname) == {"é"}
    assert found.path == "/p"


def test_a_zero_character_is_not_written_and_is_refused() -> None:
    data = HEADER._replace(program="a\0b").encode()
    assert LogHeader.decode(data).program == "a?b"
    with pytest.raises(LogFileError, match="zero character"):
        LogHeader.decode(data.replace(b"/l", b"/\0"))


def test_the_words_change() -> None:
    data = bytearray(HEADER.encode())
    struct.pack_into("<QQ", data, FREED_OFFSET, 5, 4096)
    struct.pack_into("<Q", data, DEFINITIONS_USED_OFFSET, 100)
    assert decode_words(bytes(data), HEADER) == LogWords(5, 4096, 100)
    struct.pack_into("<Q", data, DEFINITIONS_USED_OFFSET, 101)
    with pytest.raises(LogFileError, match="101 bytes of definitions"):
        decode_words(bytes(data), HEADER)


def test_what_is_parked_lies_in_its_room() -> None:
    data = bytearray(HEADER.encode())
    struct.pack_into("<3Q", data, ACKNOWLEDGED_OFFSET, 3, 48, 48 + 96)
    assert decode_words(bytes(data), HEADER) == LogWords(0, 0, 0, 3, 48, 144)
    struct.pack_into("<Q", data, ACKNOWLEDGED_OFFSET + 16, 48 + 104)
    with pytest.raises(LogFileError, match="parked from position 48 to 152"):
        decode_words(bytes(data), HEADER)


@pytest.mark.parametrize("cut", [0, 1, 3, 4, 6])
def test_an_entry_that_is_cut_off_ends_the_entries(cut: int) -> None:
    data = encode_entry(b"one") + encode_entry(b"") + encode_entry(b"two")
    expected = [b"one", b"", b"two"][: 3 if not cut else 2]
    assert list(decode_entries(data[: len(data) - cut])) == expected
