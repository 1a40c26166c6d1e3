"""Graphs of MXNet symbols, with MXBoard's names and scopes."""

from __future__ import annotations

import json

import pytest
from boardd.reduce.graph import Node, symbol_nodes
from boardd_protos.invalid import InvalidRecordError


def symbol(*nodes):
    return json.dumps(
        {"nodes": [dict(zip(("op", "name", "inputs"), n, strict=True)) for n in nodes]}
    )


#: A small MLP as ``Symbol.tojson`` of MXNet 1.9.1 writes it, less what is not read.
MLP = json.dumps(
    {
        "nodes": [
            {"op": "null", "name": "data", "inputs": []},
            {"op": "null", "name": "fc1_weight", "attrs": {"num_hidden": "4"}, "inputs": []},
            {"op": "null", "name": "fc1_bias", "attrs": {"num_hidden": "4"}, "inputs": []},
            {
                "op": "FullyConnected",
                "name": "fc1",
                "attrs": {"num_hidden": "4", "flatten": "True"},
                "inputs": [[0, 0, 0], [1, 0, 0], [2, 0, 0]],
            },
            {
                "op": "Activation",
                "name": "relu1",
                "attrs": {"act_type": "relu"},
                "inputs": [[3, 0, 0]],
            },
            {"op": "null", "name": "softmax_label", "inputs": []},
            {"op": "SoftmaxOutput", "name": "softmax", "inputs": [[4, 0, 0], [5, 0, 0]]},
        ],
        "arg_nodes": [0, 1, 2, 5],
        "heads": [[6, 0, 0]],
        "attrs": {"mxnet_version": ["int", 10901]},
    }
)


def test_a_small_net():
    assert symbol_nodes(MLP) == [
        Node("data", "null", (), None),
        Node("fc1/fc1_weight", "null", (), "{ num_hidden :  4 }"),
        Node("fc1/fc1_bias", "null", (), "{ num_hidden :  4 }"),
        Node(
            "fc1/fc1",
            "FullyConnected",
            ("data", "fc1/fc1_weight", "fc1/fc1_bias"),
            "{ flatten :  True ,  num_hidden :  4 }",
        ),
        Node("relu1/relu1", "Activation", ("fc1/fc1",), "{ act_type :  relu }"),
        Node("softmax/softmax_label", "null", (), None),
        Node("softmax/softmax", "SoftmaxOutput", ("relu1/relu1", "softmax/softmax_label"), None),
    ]


def test_variables_that_are_shared_have_no_scope():
    nodes = symbol_nodes(
        symbol(
            ("null", "data", []),
            ("null", "shared", []),
            ("null", "twice", []),
            ("null", "unused", []),
            ("null", "own", []),
            ("dot", "a", [[0, 0, 0], [1, 0, 0]]),
            ("dot", "b", [[5, 0, 0], [1, 0, 0], [4, 0, 0]]),
            ("mul", "square", [[2, 0, 0], [2, 0, 0], [6, 0, 0]]),
        )
    )
    assert [node.name for node in nodes] == [
        *("data", "shared", "twice", "unused", "b/own", "a/a", "b/b", "square/square")
    ]
    assert nodes[6].inputs == ("a/a", "shared", "b/own")
    assert nodes[7].inputs == ("twice", "twice", "b/b")


def test_the_first_node_never_gets_the_scope_of_its_user():
    nodes = symbol_nodes(symbol(("null", "x", []), ("abs", "only", [[0, 0, 0]])))
    assert nodes[0].name == "x"
    assert nodes[1].inputs == ("x",)
    first_is_an_operator = symbol_nodes(symbol(("_ones", "one", []), ("abs", "y", [[0, 0, 0]])))
    assert [node.name for node in first_is_an_operator] == ["one/one", "y/y"]
    assert first_is_an_operator[1].inputs == ("one/one",)


def test_no_nodes_and_no_inputs():
    assert symbol_nodes('{"nodes": []}') == []
    assert symbol_nodes('{"nodes": [{"op": "null", "name": "x"}]}') == [Node("x", "null", (), None)]


def test_what_mxnet_writes():
    mxnet = pytest.importorskip("mxnet")
    data = mxnet.sym.var("data")
    hidden = mxnet.sym.FullyConnected(data, num_hidden=4, name="fc1")
    output = mxnet.sym.SoftmaxOutput(
        mxnet.sym.Activation(hidden, "relu", name="relu1"), name="softmax"
    )
    assert [node.name for node in symbol_nodes(output.tojson())] == [
        node.name for node in symbol_nodes(MLP)
    ]


@pytest.mark.parametrize("name", ["resnet18_v1", "squeezenet1.0"])
def test_nets_of_the_model_zoo(name):
    mxnet = pytest.importorskip("mxnet")
    net = mxnet.gluon.model_zoo.vision.get_model(name)
    traced = net(mxnet.sym.var("data"))
    nodes = symbol_nodes(traced.tojson())
    names = {node.name for node in nodes}
    assert len(names) == len(nodes) > 50
    assert nodes[0].name == "data"
    operators = {node.name for node in nodes if node.op != "null"}
    assert operators == {f"{output}/{output}" for output in operator_names(traced)}
    scopes = {operator.split("/")[0] for operator in operators}
    used = set()
    for node in nodes:
        assert set(node.inputs) <= names
        used.update(node.inputs)
        if node.op == "null" and node.name != "data":
            scope, parameter = node.name.split("/")
            assert scope in scopes
            assert parameter in net.collect_params()
    # All but the output feed something.
    assert len(names - used) == 1


def operator_names(traced):
    variables = set(traced.list_arguments()) | set(traced.list_auxiliary_states())
    return [inner.name for inner in traced.get_internals() if inner.name not in variables]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "list of nodes"),
        ("null", "list of nodes"),
        ('{"nodes": {}}', "list of nodes"),
        ('{"nodes": [3]}', "node 0 is 3"),
        ('{"nodes": [{"op": "null"}]}', "node 0 has name None"),
        ('{"nodes": [{"op": 1, "name": "x"}]}', "node 0 has op 1"),
        ('{"nodes": [{"op": "a", "name": "x", "inputs": 7}]}', "inputs 7"),
        ('{"nodes": [{"op": "a", "name": "x", "inputs": [0]}]}', "input 0"),
        ('{"nodes": [{"op": "a", "name": "x", "inputs": [[]]}]}', r"input \[\]"),
        ('{"nodes": [{"op": "a", "name": "x", "inputs": [[1, 0]]}]}', r"\[1, 0\].* 1 nodes"),
        ('{"nodes": [{"op": "a", "name": "x", "inputs": [[-1, 0]]}]}', r"\[-1, 0\]"),
        ('{"nodes": [{"op": "a", "name": "x", "inputs": [[true]]}]}', r"\[True\]"),
        ('{"nodes": [{"op": "a", "name": "x", "attrs": "y"}]}', "attrs 'y'"),
    ],
)
def test_what_is_no_symbol(text, message):
    with pytest.raises(InvalidRecordError, match=message):
        symbol_nodes(text)
