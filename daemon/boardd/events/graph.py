"""Networks as the GraphDef that TensorBoard's graphs plugin draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from boardd_protos.invalid import InvalidRecordError

from boardd.events.graph_pb2 import AttrValue, GraphDef, NodeDef, VersionDef
from boardd.events.tensors import shape_proto

#: Version of TensorFlow's graphs that is claimed; MXBoard's.
PRODUCER: Final = 100
#: The attribute that TensorBoard reads the shapes of outputs from.
OUTPUT_SHAPES: Final = "_output_shapes"


class GraphNode(NamedTuple):
    """One node.

    Slashes in ``name`` part scopes, which TensorBoard folds into boxes.
    ``inputs`` are names of nodes, in order; ``attributes`` are shown as text. TensorBoard
    writes the shapes of outputs at the arrows that leave the node.
    """

    name: str
    op: str
    inputs: Sequence[str] = ()
    attributes: Mapping[str, str] = {}
    output_shapes: Sequence[Sequence[int]] = ()


def graph_def(nodes: Iterable[GraphNode]) -> bytes:
    """Returns a serialized GraphDef with ``nodes`` in their order.

    Raises ``InvalidRecordError`` on two nodes of one name, of which TensorBoard would
    draw one. An input that names no node is left to TensorBoard, which draws it
    as a node of its own.
    """
    graph = GraphDef(versions=VersionDef(producer=PRODUCER))
    names = set()
    for name, op, inputs, attributes, output_shapes in nodes:
        if name in names:
            raise InvalidRecordError(f"two nodes are named {name!r}; names must be unique")
        names.add(name)
        values = {key: AttrValue(s=text.encode()) for key, text in attributes.items()}
        if output_shapes:
            shapes = [shape_proto(sizes) for sizes in output_shapes]
            values[OUTPUT_SHAPES] = AttrValue(list=AttrValue.ListValue(shape=shapes))
        graph.node.append(NodeDef(name=name, op=op, input=inputs, attr=values))
    # Else a map has no certain order.
    data: bytes = graph.SerializeToString(deterministic=True)
    return data
