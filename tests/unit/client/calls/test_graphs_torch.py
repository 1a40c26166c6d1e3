"""The nodes that a traced torch module becomes."""

from __future__ import annotations

import pytest
from boardd_client.calls import graphs

torch = pytest.importorskip("torch", reason="needs torch", exc_type=ImportError)
nn = torch.nn


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: object) -> object:
        return torch.cat([torch.relu(self.norm(self.conv(x))), x], 1)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(Block())
        self.dense = nn.Linear(96, 5)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: object, y: object) -> object:
        dense = self.dense(self.layers(x).flatten(1))
        return dense * self.scale, self.dense(y) + self.scale


def make_nodes(net: object) -> dict[str, object]:
    inputs = (torch.ones(2, 3, 4, 4), torch.ones(2, 96))
    nodes = graphs.torch_nodes(net, inputs)
    names = [node.name for node in nodes]
    assert len(set(names)) == len(names)
    known: set[str] = set()
    for node in nodes:
        assert known >= set(node.inputs), "inputs come before the node"
        known.add(node.name)
    return {node.name: node for node in nodes}


def test_nodes_are_scoped_by_module_and_joined_by_their_values() -> None:
    nodes = make_nodes(Net())
    block = "Net/Sequential[layers]/Block[0]"
    conv = nodes[f"{block}/Conv2d[conv]/_convolution"]
    assert conv.op == "aten::_convolution"
    assert list(conv.inputs) == [
        "input/0",
        f"{block}/Conv2d[conv]/weight",
        f"{block}/Conv2d[conv]/bias",
    ]
    assert conv.attributes["shape"] == "[2, 3, 4, 4]"
    assert conv.attributes["padding"] == "[1, 1]"
    weight = nodes[f"{block}/Conv2d[conv]/weight"]
    assert (weight.op, dict(weight.attributes)) == ("Parameter", {"shape": "[3, 3, 3, 3]"})
    # A list of values is seen through.
    assert list(nodes[f"{block}/cat"].inputs) == [f"{block}/relu", "input/0"]
    assert list(nodes[f"{block}/relu"].inputs) == [f"{block}/BatchNorm2d[norm]/batch_norm"]
    # What is used twice is one parameter, and two operators.
    assert list(nodes["Net/mul"].inputs) == ["Net/Linear[dense]/linear", "Net/scale"]
    assert list(nodes["Net/add"].inputs) == ["Net/Linear[dense]/linear_1", "Net/scale"]
    assert nodes["Net/Linear[dense]/linear_1"].inputs[0] == "input/1"
    assert [list(nodes[f"output/{number}"].inputs) for number in range(2)] == [
        ["Net/mul"],
        ["Net/add"],
    ]


def test_tracing_changes_nothing() -> None:
    net = Net()
    net.layers.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    make_nodes(net)
    assert net.training
    assert not net.layers.training
    assert net.dense.training
    assert not net.layers[0].norm.training
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


def test_graph_of_a_module_is_its_nodes() -> None:
    graph = graphs.graph(nn.Linear(2, 3), torch.ones(1, 2))
    names = [node.name for node in graph.nodes.nodes]
    assert sorted(names) == [
        "Linear/bias",
        "Linear/linear",
        "Linear/weight",
        "input/0",
        "output/0",
    ]
