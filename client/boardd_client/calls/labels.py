"""The labels of an embedding's rows, as numbers or as text.

Numbers travel as the array they are, and may still be being computed. All else
is made text at the call: a line for each row, its columns parted by tabs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from boardd_protos.limits import MAX_EMBEDDING_ROWS, MAX_LABELS

from boardd_client import capture
from boardd_client.calls import arguments
from boardd_client.capture import Tensor

#: Kinds of NumPy's dtypes whose values are not numbers.
_NOT_NUMBERS: Final = "OUSMm"


class Columns(NamedTuple):
    """Labels: numbers [rows] or [rows, columns], or the bytes of a text."""

    tensor: Tensor
    is_text: bool
    header: tuple[str, ...]  #: names of the columns; empty for one column


def columns(labels: Any, rows: int, header: object) -> Columns:
    """Checks and captures the labels of ``rows`` rows.

    Raises ``TypeError`` for what is neither an array nor a list, and for a list of a
    framework's arrays, whose values would have to be waited for; ``ValueError`` for
    another number of labels than rows, rows of unequal lengths, and a header that
    does not fit.
    """
    # Other libraries' columns, of host memory.
    if hasattr(labels, "__array__") and not capture.is_of_framework(type(labels)):
        labels = np.asarray(labels)
    if isinstance(labels, np.ndarray) and labels.dtype.kind in _NOT_NUMBERS:
        _check_shape(labels.shape, rows)
        if labels.dtype.kind == "M":
            labels = np.datetime_as_string(labels)
        labels = labels.tolist()
    if isinstance(labels, Sequence) and not isinstance(labels, (str, bytes, bytearray)):
        if len(labels) != rows:
            raise ValueError(f"labels has {len(labels)} elements for {rows} rows of the embedding")
        lines, count = _lines(labels)
        _check_count(rows, count)
        return Columns(_captured(lines), True, _header(header, count))
    tensor = capture.tensor(labels, "labels")
    _check_shape(tensor.shape, rows)
    count = tensor.shape[1] if len(tensor.shape) == 2 else 1
    _check_count(rows, count)
    return Columns(tensor, False, _header(header, count))


def _check_shape(shape: tuple[int, ...], rows: int) -> None:
    if len(shape) not in (1, 2) or 0 in shape:
        raise ValueError(f"labels of shape {shape}: expected (rows,) or (rows, columns)")
    if shape[0] != rows:
        raise ValueError(f"labels of shape {shape} for {rows} rows of the embedding")


def _check_count(rows: int, count: int) -> None:
    if min(rows, MAX_EMBEDDING_ROWS) * count > MAX_LABELS:
        raise ValueError(
            f"labels has {count} columns for {rows} rows, expected {MAX_LABELS} labels at most"
        )


def _lines(labels: Sequence[Any]) -> tuple[list[str], int]:
    """One line for each row, and how many columns it has."""
    # By type: there are few types, and a hundred thousand labels.
    if not any(issubclass(kind, (list, tuple, np.ndarray)) for kind in set(map(type, labels))):
        return _fields(labels), 1
    if not any(map(_is_row, labels)):  # arrays of no dimension
        return _fields(labels), 1
    counts = {len(label) if _is_row(label) else 0 for label in labels}
    if len(counts) != 1:
        number = next(i for i, label in enumerate(labels) if _width(label) != _width(labels[0]))
        raise ValueError(
            f"labels[{number}] is {labels[number]!r}, labels[0] is {labels[0]!r}: expected rows of "
            "one length"
        )
    count = counts.pop()
    if not count:
        raise ValueError("labels has rows without columns")
    fields = iter(_fields([field for label in labels for field in label]))
    # zip takes count fields in turn.
    return ["\t".join(row) for row in zip(*[fields] * count, strict=True)], count


def _is_row(label: object) -> bool:
    return isinstance(label, (list, tuple)) or (isinstance(label, np.ndarray) and label.ndim == 1)


def _width(label: Any) -> int:
    return len(label) if _is_row(label) else 0


def _fields(values: Sequence[Any]) -> list[str]:
    """Texts of ``values`` without tabs and line ends."""
    kinds = set(map(type, values))
    for kind in kinds:
        if capture.is_of_framework(kind):
            raise TypeError(
                f"labels is a list of {kind.__module__}.{kind.__name__}; stack them into one "
                "array, or pass numbers or texts"
            )
    fields = list(values if kinds == {str} else map(str, values))
    joined = "".join(fields)
    if "\t" in joined or "\n" in joined:
        return [field.replace("\t", " ").replace("\n", " ") for field in fields]
    return fields


def _captured(lines: Iterable[str]) -> Tensor:
    text = "\n".join([*lines, ""])
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        number = text.count("\n", 0, error.start)
        raise ValueError(f"labels[{number}] cannot be encoded as UTF-8") from None
    return capture.tensor(data, "labels")


def _header(header: object, count: int) -> tuple[str, ...]:
    if header is None:
        return tuple(f"label {number}" for number in range(1, count + 1)) if count > 1 else ()
    names = arguments.strings(header, "labels_header")
    if count == 1:
        raise ValueError(
            f"labels_header is {header!r}: TensorBoard names columns only if there are several"
        )
    if len(names) != count:
        raise ValueError(
            f"labels_header is {header!r}, expected {count} names, one for each column"
        )
    if len(set(names)) != count or not all(name.strip() for name in names):
        raise ValueError(f"labels_header is {header!r}, expected names that differ, none empty")
    return names
