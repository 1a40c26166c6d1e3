from __future__ import annotations

import numpy as np
import pytest
from boardd.core.refusals import RefusedError
from boardd.core.runs import kinds
from boardd.core.runs.kinds import TagKinds
from boardd_protos import boardd_pb2 as pb
from boardd_protos.summary_kind import SummaryKind
from hypothesis import given
from hypothesis import strategies as st

TAGS = [b"a", b"b", b"c", b"d/e"]


def take_scalars(tag_kinds: TagKinds, *indexes: int) -> list[int]:
    """Returns which of them are refused."""
    refused = tag_kinds.take_scalars(np.array(indexes, np.intp), TAGS)
    return [] if refused is None else np.flatnonzero(refused).tolist()


def test_first_kind_of_a_tag_stays() -> None:
    tag_kinds = TagKinds()
    tag_kinds.take(b"b", {b"b": SummaryKind.IMAGE})
    assert take_scalars(tag_kinds, 0, 1, 2, 1) == [1, 3]
    assert take_scalars(tag_kinds, 1) == [0]
    assert take_scalars(tag_kinds) == []
    for tag in (b"a", b"c"):
        with pytest.raises(RefusedError, match=r"is a scalar .* cannot be a image") as caught:
            tag_kinds.take(tag, {tag: SummaryKind.IMAGE})
        assert caught.value.reason == pb.INVALID_NAME
    tag_kinds.take(b"b", {b"b": SummaryKind.IMAGE})
    tag_kinds.take(b"d/e", {b"d/e": SummaryKind.SCALAR})
    assert take_scalars(tag_kinds, 3, 0) == []


def test_what_event_files_hold_is_known_from_the_start() -> None:
    tag_kinds = TagKinds()
    tag_kinds.restore({b"a": SummaryKind.HISTOGRAM, b"b": SummaryKind.SCALAR})
    tag_kinds.restore({b"a": SummaryKind.SCALAR})
    assert take_scalars(tag_kinds, 0, 1) == [0]
    assert take_scalars(tag_kinds, 2) == []
    tag_kinds.take(b"a", {b"a": SummaryKind.HISTOGRAM, b"d/e": SummaryKind.HISTOGRAM})
    assert tag_kinds.take_new() == {b"c": SummaryKind.SCALAR, b"d/e": SummaryKind.HISTOGRAM}
    assert tag_kinds.take_new() == {}
    assert dict(tag_kinds) == {
        b"a": SummaryKind.HISTOGRAM,
        b"b": SummaryKind.SCALAR,
        b"c": SummaryKind.SCALAR,
        b"d/e": SummaryKind.HISTOGRAM,
    }


def test_a_refused_record_takes_no_tag() -> None:
    tag_kinds = TagKinds()
    assert take_scalars(tag_kinds, 3) == []
    with pytest.raises(RefusedError, match="'d/e'"):
        tag_kinds.take(b"d", {b"d": SummaryKind.MESH, b"d/e": SummaryKind.MESH})
    tag_kinds.take(b"d", {b"d": SummaryKind.TEXT})


def test_tags_made_from_others_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "MAX_DERIVED_TAGS", 3)
    tag_kinds = TagKinds()
    images = {f"a/{number}".encode(): SummaryKind.IMAGE for number in range(3)}
    tag_kinds.take(b"a", images)
    tag_kinds.take(b"a", images)
    tag_kinds.take(b"other", {b"other": SummaryKind.IMAGE})
    with pytest.raises(RefusedError, match="3 tags") as caught:
        tag_kinds.take(b"b", {b"b": SummaryKind.IMAGE, b"b/0": SummaryKind.IMAGE})
    assert caught.value.reason == pb.TOO_MANY_SERIES
    tag_kinds.take(b"b", {b"b": SummaryKind.TEXT})


@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.sampled_from(TAGS),
                st.sampled_from([SummaryKind.SCALAR, SummaryKind.IMAGE, SummaryKind.TEXT]),
            ),
            st.lists(st.integers(0, len(TAGS) - 1), max_size=30),
        ),
        max_size=20,
    )
)
def test_many_scalars_at_once_are_like_one_by_one(records: list[object]) -> None:
    tag_kinds = TagKinds()
    model: dict[bytes, SummaryKind] = {}
    for item in records:
        if isinstance(item, list):
            expected = [
                number
                for number, index in enumerate(item)
                if model.setdefault(TAGS[index], SummaryKind.SCALAR) is not SummaryKind.SCALAR
            ]
            assert take_scalars(tag_kinds, *item) == expected
            continue
        tag, kind = item  # type: ignore[misc]
        if model.setdefault(tag, kind) == kind:
            tag_kinds.take(tag, {tag: kind})
        else:
            with pytest.raises(RefusedError):
                tag_kinds.take(tag, {tag: kind})
