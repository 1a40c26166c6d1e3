"""MXNet symbols to the nodes of TensorBoard's graph, named and scoped as MXBoard does.

An operator ``conv`` becomes ``conv/conv``, and a variable that only one
operator uses, such as a weight, goes into that operator's scope:
``conv/conv_weight``. The first node, the data by MXNet's order, and variables
that several operators use, or one twice, keep their names
(``_get_nodes_from_symbol`` of mxboard/summary.py).
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Final

from boardd_protos.invalid import InvalidRecordError

#: ``versions.producer`` of a GraphDef of these nodes; MXBoard's value.
PRODUCER: Final = 100

#: MXNet's name for the operator of a variable.
_VARIABLE: Final = "null"


@dataclasses.dataclass(frozen=True)
class Node:
    """A NodeDef: its name with scopes, operator, and the names of its inputs in order.

    ``param`` is the value of its attribute "param", the node's attributes as
    JSON with spaces for the quotation marks, or None if it has none.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    param: str | None


def symbol_nodes(text: str) -> list[Node]:
    """Returns the nodes of a symbol in their order.

    Args:
        text: what ``mxnet.symbol.Symbol.tojson`` returns.

    Raises ``InvalidRecordError``, which names what is wrong and where.
    """
    entries = _entries(text)
    inputs = [_inputs(number, entry, len(entries)) for number, entry in enumerate(entries)]
    users: list[list[int]] = [[] for _ in entries]
    for number, sources in enumerate(inputs):
        for source in sources:
            if source != 0 and entries[number]["op"] != _VARIABLE:
                users[source].append(number)

    names = []
    for entry, used_by in zip(entries, users, strict=True):
        name = entry["name"]
        if entry["op"] != _VARIABLE:
            name = f"{name}/{name}"
        elif len(used_by) == 1:
            name = f"{entries[used_by[0]]['name']}/{name}"
        names.append(name)
    return [
        Node(
            name=names[number],
            op=entry["op"],
            inputs=tuple(names[source] for source in inputs[number])
            if entry["op"] != _VARIABLE
            else (),
            param=_param(number, entry),
        )
        for number, entry in enumerate(entries)
    ]


def _entries(text: str) -> list[dict[str, Any]]:
    try:
        symbol = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRecordError(f"a symbol that is no JSON: {error}") from error
    entries = symbol.get("nodes") if isinstance(symbol, dict) else None
    if not isinstance(entries, list):
        raise InvalidRecordError(
            "a symbol without a list of nodes; give what Symbol.tojson returns"
        )
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise InvalidRecordError(f"node {number} is {entry!r}, not an object")
        for key in ("op", "name"):
            if not isinstance(entry.get(key), str):
                raise InvalidRecordError(
                    f"node {number} has {key} {entry.get(key)!r}, not a string"
                )
    return entries


def _inputs(number: int, entry: dict[str, Any], count: int) -> list[int]:
    """Returns the numbers of the nodes that feed a node."""
    references = entry.get("inputs", [])
    if not isinstance(references, list):
        raise InvalidRecordError(f"node {number} has inputs {references!r}, not a list")
    sources = []
    for reference in references:
        source = reference[0] if isinstance(reference, list) and reference else None
        if type(source) is not int or not 0 <= source < count:
            raise InvalidRecordError(
                f"node {number} has input {reference!r}; an input starts with the number of one "
                f"of {count} nodes"
            )
        sources.append(source)
    return sources


def _param(number: int, entry: dict[str, Any]) -> str | None:
    if "attrs" not in entry:
        return None
    if not isinstance(entry["attrs"], dict):
        raise InvalidRecordError(f"node {number} has attrs {entry['attrs']!r}, not an object")
    # TensorBoard would show the quotation marks escaped.
    return json.dumps(entry["attrs"], sort_keys=True).replace('"', " ")
