from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from boardd.events import event
from boardd.events.event_pb2 import DT_BFLOAT16, Summary, SummaryMetadata, TensorProto
from boardd.events.exact import ExactPartial, with_partial, with_scalar
from boardd.events.values import scalar_value
from boardd.merge.values import Content, Found, array_of, buckets_of, read
from tensorboard.util.tensor_util import make_tensor_proto

ARRAYS = [
    np.array(value, dtype)
    for dtype in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")
    for value in (1, [1, 0, 1], [[1, 0], [1, 1]], np.zeros((0, 3)))
]


def metadata(plugin: str) -> SummaryMetadata:
    return SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin))


def values_in(
    value: Summary.Value | list[Summary.Value], known: dict[bytes, SummaryMetadata] | None = None
) -> list[Found]:
    encoded = event.summary(1e9, 3, value)
    found = read(encoded[12:-4], {} if known is None else known)
    assert found is not None
    assert (found.wall_time, found.step) == (1e9, 3)
    return found.values


def ours(tensor: Any) -> TensorProto:
    return TensorProto.FromString(tensor.SerializeToString())


@pytest.mark.parametrize("array", ARRAYS, ids=lambda one: f"{one.dtype}{one.shape}")
def test_tensors_are_what_tensorboard_wrote(array: np.ndarray) -> None:
    found = array_of(ours(make_tensor_proto(array)))
    assert found is not None
    assert found.dtype == array.dtype
    assert found.tolist() == array.tolist()


def test_a_single_element_stands_for_those_that_are_left_out() -> None:
    proto = ours(make_tensor_proto(np.zeros((2, 3), np.float32)))
    proto.tensor_content = b""
    proto.float_val.extend([1.0, 2.0])
    found = array_of(proto)
    assert found is not None
    assert found.tolist() == [[1, 2, 2], [2, 2, 2]]


def test_bfloat16_is_the_upper_half_of_float32() -> None:
    bits = (np.array([1.5, -2.0], np.float32).view(np.uint32) >> 16).tolist()
    proto = ours(make_tensor_proto(np.zeros(2, np.float16)))
    proto.dtype, proto.tensor_content = DT_BFLOAT16, b""
    del proto.half_val[:]
    proto.half_val.extend(bits)
    found = array_of(proto)
    assert found is not None
    assert found.tolist() == [1.5, -2.0]


def test_tensors_of_other_lengths_are_none() -> None:
    proto = ours(make_tensor_proto(np.zeros((2, 3), np.float32)))
    for content in (b"\0" * 7, b"\0" * 28):
        proto.tensor_content = content
        assert array_of(proto) is None
    assert array_of(ours(make_tensor_proto(b"words"))) is None


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i8"])
def test_scalars_may_be_tensors(dtype: str) -> None:
    tensor = ours(make_tensor_proto(np.array(2, dtype)))
    (found,) = values_in(Summary.Value(tag="a", tensor=tensor, metadata=metadata("scalars")))
    assert found == (b"a", "scalars", 2.0, None)


def test_metadata_holds_for_later_values_of_its_tag() -> None:
    known: dict[bytes, SummaryMetadata] = {}
    tensor = ours(make_tensor_proto(np.array(2.0)))
    values_in(Summary.Value(tag="a", tensor=tensor, metadata=metadata("scalars")), known)
    (found,) = values_in(Summary.Value(tag="a", tensor=tensor), known)
    assert found.kind == "scalars"
    (other,) = values_in(Summary.Value(tag="b", tensor=tensor), known)
    assert other.kind == "tensor"


def test_a_tag_may_be_the_name_of_a_node() -> None:
    (found,) = values_in(Summary.Value(node_name="n", simple_value=1.0))
    assert found.tag == b"n"


def test_a_value_without_content_shows_nothing() -> None:
    assert values_in(Summary.Value(tag="a")) == []
    (found,) = values_in(Summary.Value(tag="a", metadata=metadata("hparams")))
    assert found.kind == "hparams"


def test_exact_content_takes_the_place_of_the_rounded() -> None:
    encoded = with_scalar(event.summary(1e9, 3, scalar_value("a", 0.1)), 0.1)
    found = read(encoded[12:-4], {})
    assert found is not None
    assert found.values == [(b"a", "scalars", 0.1, None)]
    two = event.summary(1e9, 3, [Summary.Value(tag="h/x", histo={"num": 1}), scalar_value("n", 1)])
    found = read(with_partial(two, ExactPartial(b"h", b"partial"))[12:-4], {})
    assert found is not None
    ((tag, kind, _, content),) = found.values
    assert (tag, kind) == (b"h", "histograms")
    assert isinstance(content, Content)
    assert content.partial == b"partial"


def test_what_is_no_event_is_none() -> None:
    assert read(b"\xff\xff\xff", {}) is None


def test_histograms_of_both_forms() -> None:
    histo = Summary.Value(
        histo={
            "min": 0,
            "max": 2,
            "num": 3,
            "sum": 3,
            "sum_squares": 5,
            "bucket_limit": [1, 2],
            "bucket": [1, 2],
        }
    )
    rows = np.array([[0, 1, 1], [1, 2, 2]], np.float64)
    tensor = Summary.Value(tensor=ours(make_tensor_proto(rows)))
    for value in (histo, tensor):
        found = buckets_of(value)
        assert found is not None
        assert (found.left.tolist(), found.right.tolist()) == ([0, 1], [1, 2])
        assert found.count.tolist() == [1, 2]
    assert buckets_of(Summary.Value(tensor=ours(make_tensor_proto(np.zeros(3))))) is None
