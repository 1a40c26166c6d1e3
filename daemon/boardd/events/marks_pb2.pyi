from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Batch(_message.Message):
    __slots__ = ["curve_levels", "dropped_step", "epoch", "next_epoch", "offset", "parts", "table", "tags"]
    CURVE_LEVELS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_STEP_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    NEXT_EPOCH_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    curve_levels: int
    dropped_step: int
    epoch: int
    next_epoch: int
    offset: int
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    table: _containers.RepeatedCompositeFieldContainer[Mark]
    tags: _containers.RepeatedCompositeFieldContainer[Tags]
    def __init__(self, table: _Optional[_Iterable[_Union[Mark, _Mapping]]] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ..., offset: _Optional[int] = ..., tags: _Optional[_Iterable[_Union[Tags, _Mapping]]] = ..., epoch: _Optional[int] = ..., next_epoch: _Optional[int] = ..., dropped_step: _Optional[int] = ..., curve_levels: _Optional[int] = ...) -> None: ...

class Dropped(_message.Message):
    __slots__ = ["reason", "records"]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    records: int
    def __init__(self, reason: _Optional[str] = ..., records: _Optional[int] = ...) -> None: ...

class Mark(_message.Message):
    __slots__ = ["dropped", "has_ended", "sequence", "session"]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    HAS_ENDED_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    dropped: _containers.RepeatedCompositeFieldContainer[Dropped]
    has_ended: bool
    sequence: int
    session: bytes
    def __init__(self, session: _Optional[bytes] = ..., sequence: _Optional[int] = ..., has_ended: bool = ..., dropped: _Optional[_Iterable[_Union[Dropped, _Mapping]]] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ["dropped", "known", "runs", "session"]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    dropped: _containers.RepeatedCompositeFieldContainer[Dropped]
    known: int
    runs: _containers.RepeatedScalarFieldContainer[int]
    session: bytes
    def __init__(self, session: _Optional[bytes] = ..., known: _Optional[int] = ..., runs: _Optional[_Iterable[int]] = ..., dropped: _Optional[_Iterable[_Union[Dropped, _Mapping]]] = ...) -> None: ...

class Tags(_message.Message):
    __slots__ = ["kind", "names", "reduce"]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    REDUCE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    names: _containers.RepeatedScalarFieldContainer[bytes]
    reduce: str
    def __init__(self, kind: _Optional[str] = ..., names: _Optional[_Iterable[bytes]] = ..., reduce: _Optional[str] = ...) -> None: ...
