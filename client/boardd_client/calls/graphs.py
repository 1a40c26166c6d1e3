"""Networks to graphs: an MXNet symbol's JSON, or the nodes of a traced torch module.

No framework is imported that the process has not: whoever has a network has
loaded its framework.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from boardd_protos import boardd_pb2 as pb

from boardd_client.calls import arguments

#: Longest text of a constant that is shown as an attribute.
_CONSTANT_CHARACTERS: Final = 200

#: Nodes that only bundle values or take bundles apart.
_BUNDLES: Final = (
    "prim::ListConstruct",
    "prim::ListUnpack",
    "prim::TupleConstruct",
    "prim::TupleUnpack",
    "prim::DictConstruct",
)


def graph(net: Any, input_to_model: Any, *, strict: bool = False) -> pb.Graph:
    """Returns the graph of a network; see ``SummaryWriter.add_graph``."""
    if _is_a(net, "mxnet.symbol", "Symbol") or _is_a(net, "mxnet.gluon", "HybridBlock"):
        if input_to_model is not None:
            raise ValueError("input_to_model is for torch modules; an MXNet network is not run")
        return pb.Graph(mxnet_json=mxnet_json(net))
    if _is_a(net, "torch.nn", "Module"):
        if input_to_model is None:
            raise ValueError("input_to_model is None: a torch module is traced with an input")
        return pb.Graph(nodes=pb.GraphNodes(nodes=torch_nodes(net, input_to_model, strict=strict)))
    raise TypeError(
        f"net is a {arguments.kind(net)}, expected an mxnet Symbol, a HybridBlock or a torch Module"
    )


def mxnet_json(net: Any) -> str:
    """Returns the JSON of a Symbol, or of what a HybridBlock was hybridized to.

    Waits for no array: a symbol has none. Raises ``RuntimeError`` for a HybridBlock that
    was not hybridized and run.
    """
    if not _is_a(net, "mxnet.symbol", "Symbol"):
        if not net._cached_graph:
            raise RuntimeError(
                "call net.hybridize() and run net forward at least once before add_graph(net)"
            )
        net = net._cached_graph[1]
    text: str = net.tojson()
    return text


def torch_nodes(module: Any, input_to_model: Any, *, strict: bool = False) -> list[pb.GraphNode]:
    """Traces ``module`` with an input and returns the nodes of what it did.

    Nodes are scoped by the modules they run in, ``Net/Sequential[layers]/Conv2d[0]``.
    Parameters and buffers are nodes, constants are attributes of the nodes that take
    them, and lists and tuples of values are seen through. ``strict`` has the tracer refuse
    a module that returns a dict or a list. Raises ``RuntimeError`` for a module that cannot be
    traced.
    """
    torch: Any = sys.modules["torch"]
    inputs = input_to_model
    if isinstance(inputs, list):
        inputs = tuple(inputs)
    with _evaluating(module), torch.no_grad(), warnings.catch_warnings():
        # That tracing is deprecated, and that branches are not recorded: a picture needs neither.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        try:
            traced = torch.jit.trace(module, inputs, strict=strict, check_trace=False)
        except Exception as error:
            raise RuntimeError(
                f"the {type(module).__name__} cannot be traced with this input: {error}"
            ) from error
    block = traced.graph.copy()
    torch._C._jit_pass_inline(block)
    return _Translation(module, block).nodes


@contextlib.contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    # Traced in training, batch normalisation would change its running statistics.
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


class _Translation:
    """Nodes of a TorchScript graph, in its order."""

    def __init__(self, module: Any, block: Any) -> None:
        self.nodes: list[pb.GraphNode] = []
        self._names: Counter[str] = Counter()
        self._scopes = _scopes(module)
        self._shapes = _shapes(module)
        self._paths: dict[str, str] = {}  # of the modules that values are
        self._sources: dict[str, list[str]] = {}  # the nodes that made a value
        self._constants: dict[str, str] = {}
        self._add_inputs(block)
        for node in block.nodes():
            self._add(node)
        outputs = [source for value in block.outputs() for source in self._from(value)]
        for number, source in enumerate(dict.fromkeys(outputs)):
            self._append(f"output/{number}", "output", [source], {})

    def _add_inputs(self, block: Any) -> None:
        first, *others = block.inputs()
        self._paths[first.debugName()] = ""  # the module itself
        for number, value in enumerate(others):
            name = self._append(f"input/{number}", "input", [], {}, [_sizes(value)])
            self._sources[value.debugName()] = [name]

    def _add(self, node: Any) -> None:
        kind = node.kind()
        outputs = [value.debugName() for value in node.outputs()]
        if kind == "prim::Constant":
            self._constants[outputs[0]] = _constant(node)
        elif kind == "prim::GetAttr":
            self._add_attribute(node, outputs[0])
        elif kind in _BUNDLES:
            sources = [source for value in node.inputs() for source in self._from(value)]
            for output in outputs:
                self._sources[output] = sources
            constants = [self._constants.get(value.debugName()) for value in node.inputs()]
            if kind == "prim::ListConstruct" and None not in constants:
                self._constants[outputs[0]] = f"[{', '.join(map(str, constants))}]"
        else:
            self._add_operator(node, kind, outputs)

    def _add_attribute(self, node: Any, output: str) -> None:
        parent = self._paths.get(next(node.inputs()).debugName())
        if parent is None:
            return
        attribute = node.s("name")
        path = f"{parent}.{attribute}" if parent else attribute
        if path in self._scopes:
            self._paths[output] = path
        else:  # one node, wherever it is used
            name = f"{self._scopes.get(parent, parent)}/{attribute}"
            if name not in self._names:
                self._append(name, "Parameter", [], {}, [self._shapes.get(path)])
            self._sources[output] = [name]

    def _add_operator(self, node: Any, kind: str, outputs: list[str]) -> None:
        sources: list[str] = []
        attributes: dict[str, str] = {}
        names = _argument_names(node)
        for number, value in enumerate(node.inputs()):
            found = self._from(value)
            sources += found
            constant = self._constants.get(value.debugName())
            if constant is not None and not found:
                name = names[number] if number < len(names) else f"argument {number}"
                attributes[name] = constant
        # The innermost of nested scopes has the whole path.
        path = node.scopeName().rpartition("/")[2].removeprefix("__module").removeprefix(".")
        scope = self._scopes.get(path) or self._scopes[""]
        name = f"{scope}/{kind.rpartition('::')[2]}"
        shapes = [_sizes(value) for value in node.outputs()]
        name = self._append(name, kind, sources, attributes, shapes)
        for output in outputs:
            self._sources[output] = [name]

    def _from(self, value: Any) -> list[str]:
        return self._sources.get(value.debugName(), [])

    def _append(
        self,
        name: str,
        op: str,
        inputs: list[str],
        attributes: dict[str, str],
        shapes: Sequence[Sequence[int] | None] = (),
    ) -> str:
        """Adds a node under that name or, if it is taken, with a number behind it.

        ``shapes`` are those of its outputs, and are left out unless all are known.
        """
        unique = name
        while unique in self._names:
            unique = f"{name}_{self._names[name]}"
            self._names[name] += 1
        self._names[unique] += 1
        node = pb.GraphNode(name=unique, op=op, inputs=inputs, attributes=attributes)
        known = [pb.Shape(sizes=sizes) for sizes in shapes if sizes is not None]
        if known and len(known) == len(shapes):
            node.output_shapes.extend(known)
            if len(known) == 1:
                node.attributes["shape"] = str(list(known[0].sizes))
        self.nodes.append(node)
        return unique


def _scopes(module: Any) -> dict[str, str]:
    """The scope of each module, by its path; the root's path is empty."""
    scopes = {"": type(module).__name__}
    for path, part in module.named_modules(remove_duplicate=False):
        if path:
            parent, _, name = path.rpartition(".")
            scopes[path] = f"{scopes[parent]}/{type(part).__name__}[{name}]"
    return scopes


def _shapes(module: Any) -> dict[str, list[int]]:
    """The shape of each parameter and buffer, by its path."""
    found = {}
    for tensors in (module.named_parameters, module.named_buffers):
        for path, tensor in tensors(remove_duplicate=False):
            found[path] = list(tensor.shape)
    return found


def _argument_names(node: Any) -> list[str]:
    """The names of an operator's arguments; none if it has no schema."""
    torch: Any = sys.modules["torch"]
    try:
        schema = torch._C.parse_schema(node.schema())
    except RuntimeError:
        return []
    return [argument.name for argument in schema.arguments]


def _sizes(value: Any) -> list[int] | None:
    """The shape of a value, if it is known."""
    kind = value.type()
    sizes: list[int] | None = kind.sizes() if kind.kind() == "TensorType" else None
    return sizes


def _constant(node: Any) -> str:
    value = node.output().toIValue()
    # A tensor's text would wait for its data.
    text = "tensor" if _is_a(value, "torch", "Tensor") else str(value)
    return text[:_CONSTANT_CHARACTERS]


def _is_a(value: object, module: str, name: str) -> bool:
    loaded = sys.modules.get(module)
    kind = getattr(loaded, name, None)
    return kind is not None and isinstance(value, kind)
