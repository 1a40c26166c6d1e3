from __future__ import annotations

import io

import pytest
from boardd.events import tfrecord
from boardd.events.tfrecord import masked_crc32c, whole_records
from support.tfrecords import CorruptRecordError, TruncatedRecordError, read_records
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow
from tensorboard.summary.writer.record_writer import RecordWriter

# Written by tensorboard 2.21's EventFile with the clock at 1700000000.25:
# the event that opens a file, then wall time 1700000001.5, step 7, loss 0.625.
TENSORBOARD_FILE_VERSION = bytes.fromhex(
    "4800000000000000 fe92489d"
    "0900001040fc54d9411a0d627261696e2e4576656e743a32522e0a2c74656e736f72626f6172642e73756d6d617279"
    "2e7772697465722e6576656e745f66696c655f777269746572"
    "75711fd6"
)
TENSORBOARD_SCALAR = bytes.fromhex(
    "1a00000000000000 129bd82d 0900006040fc54d94110072a0d0a0b0a046c6f7373150000203f 7834e7cb"
)

# Both directions of the codec: what a record holds, and the record.
RECORDS = {
    "file version, by TensorBoard": (TENSORBOARD_FILE_VERSION[12:-4], TENSORBOARD_FILE_VERSION),
    "scalar, by TensorBoard": (TENSORBOARD_SCALAR[12:-4], TENSORBOARD_SCALAR),
    # CRC-32C of nothing is 0, of eight zero bytes 0x8c28b28a (LevelDB's value);
    # masked by hand.
    "empty": (b"", bytes.fromhex("0000000000000000 29039807 d8ea82a2")),
}
cases = pytest.mark.parametrize(("data", "record"), RECORDS.values(), ids=RECORDS)

# RFC 3720, appendix B.4: data and CRC-32C, unmasked, as an integer.
RFC_3720 = {
    "32 bytes of zeroes": (bytes(32), 0x8A9136AA),
    "32 bytes of ones": (b"\xff" * 32, 0x62A8AB43),
    "32 bytes, ascending": (bytes(range(32)), 0x46DD794E),
    "32 bytes, descending": (bytes(range(31, -1, -1)), 0x113FDB5C),
    "an iSCSI read command": (
        bytes.fromhex(
            "01c00000 00000000 00000000 00000000 14000000 00000400"
            "00000014 00000018 28000000 00000000 02000000 00000000"
        ),
        0xD9963A56,
    ),
}


def unmasked(masked: int) -> int:
    rotated = (masked - tfrecord.MASK_DELTA) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


@pytest.mark.parametrize(("data", "crc"), RFC_3720.values(), ids=RFC_3720)
def test_crc_is_that_of_rfc_3720(data: bytes, crc: int) -> None:
    assert unmasked(masked_crc32c(data)) == crc


@pytest.mark.parametrize("size_bytes", [0, 1, 7, 8, 9, 63, 64, 65, 4099])
def test_masked_crc_is_tensorboards(size_bytes: int) -> None:
    data = bytes(i * 37 % 251 for i in range(size_bytes))
    assert masked_crc32c(data) == pywrap_tensorflow.masked_crc32c(data)


@cases
def test_record(data: bytes, record: bytes) -> None:
    assert tfrecord.record(data) == record


@cases
def test_reading(data: bytes, record: bytes) -> None:
    assert list(read_records(record)) == [data]


def test_record_is_what_tensorboards_record_writer_writes() -> None:
    out = io.BytesIO()
    writer = RecordWriter(out)
    for size_bytes in (0, 1, 200, 5000):
        writer.write(b"\xa5" * size_bytes)
    ours = b"".join(tfrecord.record(b"\xa5" * size_bytes) for size_bytes in (0, 1, 200, 5000))
    assert ours == out.getvalue()


def test_reading_whole_file() -> None:
    records = [record for _, record in RECORDS.values()]
    assert list(read_records(b"".join(records))) == [data for data, _ in RECORDS.values()]
    assert list(read_records(b"")) == []


def test_reading_cut_anywhere_yields_the_whole_records_before() -> None:
    first, second = TENSORBOARD_FILE_VERSION, TENSORBOARD_SCALAR
    both = first + second
    for size_bytes in range(1, len(both)):
        if size_bytes == len(first):
            continue
        found: list[bytes] = []
        with pytest.raises(TruncatedRecordError):
            found.extend(read_records(both[:size_bytes]))
        assert found == ([first[12:-4]] if size_bytes > len(first) else [])


def test_reading_refuses_any_flipped_bit() -> None:
    for position in range(len(TENSORBOARD_SCALAR)):
        for bit in range(8):
            damaged = bytearray(TENSORBOARD_SCALAR)
            damaged[position] ^= 1 << bit
            with pytest.raises(CorruptRecordError):
                list(read_records(bytes(damaged)))


def test_reading_does_not_believe_a_huge_length() -> None:
    length = (2**64 - 1).to_bytes(8, "little")
    header = length + masked_crc32c(length).to_bytes(4, "little")
    with pytest.raises(TruncatedRecordError, match=str(2**64 - 1)):
        list(read_records(header + b"short"))


def test_whole_records_at_every_length() -> None:
    records = [tfrecord.record(b"x" * size_bytes) for size_bytes in (0, 1, 30, 0, 5)]
    data = b"".join(records)
    ends = [0]
    for record in records:
        ends.append(ends[-1] + len(record))
    for size_bytes in range(len(data) + 1):
        count = sum(end <= size_bytes for end in ends) - 1
        assert whole_records(data, size_bytes) == (ends[count], count)
        assert whole_records(memoryview(data), size_bytes) == (ends[count], count)


@pytest.mark.parametrize("size_bytes", [0, 1, 1000, 100_000])
def test_a_record_of_fields_is_one_of_them_back_to_back(size_bytes: int) -> None:
    fields = (b"head", bytes(range(256)) * (size_bytes // 256), b"", b"x" * size_bytes)
    assert tfrecord.record(*fields) == tfrecord.record(b"".join(fields))
