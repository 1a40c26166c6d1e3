"""Networks as the GraphDef that TensorBoard's graphs plugin draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from boardd_protos.invalid import InvalidRecordError

from boardd.events.graph_pb2 import AttrValue, GraphDef, NodeDef, VersionDef

#: Version of TensorFlow's graphs that is claimed; MXBoard's.
PRODUCER: Final = 100


class GraphNode(NamedTuple):
    """One node.

    Slashes in ``name`` part scopes, which TensorBoard folds into boxes.
    ``inputs`` are names of nodes, in order; ``attributes`` are shown as text.
    """

    name: str
    op: str
    inputs: Sequence[str] = ()
    attributes: Mapping[str, str] = {}


def graph_def(nodes: Iterable[GraphNode]) -> bytes:
    """Returns a serialized GraphDef with ``nodes`` in their order.

    Raises ``InvalidRecordError`` on two nodes of one name, of which TensorBoard would
    draw one. An input that names no node is left to TensorBoard, which draws it
    as a node of its own.
    """
    graph = GraphDef(versions=VersionDef(producer=PRODUCER))
    names = set()
    for name, op, inputs, attributes in nodes:
        if name in names:
            raise InvalidRecordError(f"two nodes are named {name!r}; names must be unique")
        names.add(name)
        graph.node.append(
            NodeDef(
                name=name,
                op=op,
                input=inputs,
                attr={key: AttrValue(s=text.encode()) for key, text in attributes.items()},
            )
        )
    # Else a map has no certain order.
    data: bytes = graph.SerializeToString(deterministic=True)
    return data
