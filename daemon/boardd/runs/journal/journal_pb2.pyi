from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Array(_message.Message):
    __slots__ = ["data", "dtype", "name", "shape"]
    DATA_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    dtype: str
    name: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ...) -> None: ...

class Attempt(_message.Message):
    __slots__ = ["epoch", "launch", "number"]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LAUNCH_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    launch: str
    number: int
    def __init__(self, epoch: _Optional[int] = ..., launch: _Optional[str] = ..., number: _Optional[int] = ...) -> None: ...

class Began(_message.Message):
    __slots__ = ["group_id", "world_size"]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    WORLD_SIZE_FIELD_NUMBER: _ClassVar[int]
    group_id: bytes
    world_size: int
    def __init__(self, group_id: _Optional[bytes] = ..., world_size: _Optional[int] = ...) -> None: ...

class Closed(_message.Message):
    __slots__ = ["nth", "sequence", "step", "tag"]
    NTH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    nth: bytes
    sequence: int
    step: bytes
    tag: bytes
    def __init__(self, sequence: _Optional[int] = ..., step: _Optional[bytes] = ..., nth: _Optional[bytes] = ..., tag: _Optional[bytes] = ...) -> None: ...

class DropCount(_message.Message):
    __slots__ = ["reason", "records"]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    records: int
    def __init__(self, reason: _Optional[str] = ..., records: _Optional[int] = ...) -> None: ...

class Dropped(_message.Message):
    __slots__ = ["counts", "source", "step", "wall_time"]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    WALL_TIME_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.RepeatedCompositeFieldContainer[DropCount]
    source: bytes
    step: int
    wall_time: float
    def __init__(self, source: _Optional[bytes] = ..., counts: _Optional[_Iterable[_Union[DropCount, _Mapping]]] = ..., step: _Optional[int] = ..., wall_time: _Optional[float] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ["began", "closed", "dropped", "joined", "left", "rewound", "scalars", "state", "summary", "tags", "told"]
    BEGAN_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    JOINED_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    REWOUND_FIELD_NUMBER: _ClassVar[int]
    SCALARS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    TOLD_FIELD_NUMBER: _ClassVar[int]
    began: Began
    closed: Closed
    dropped: Dropped
    joined: Joined
    left: Left
    rewound: Rewound
    scalars: Scalars
    state: State
    summary: Summary
    tags: Tags
    told: Told
    def __init__(self, began: _Optional[_Union[Began, _Mapping]] = ..., joined: _Optional[_Union[Joined, _Mapping]] = ..., left: _Optional[_Union[Left, _Mapping]] = ..., tags: _Optional[_Union[Tags, _Mapping]] = ..., scalars: _Optional[_Union[Scalars, _Mapping]] = ..., summary: _Optional[_Union[Summary, _Mapping]] = ..., rewound: _Optional[_Union[Rewound, _Mapping]] = ..., closed: _Optional[_Union[Closed, _Mapping]] = ..., told: _Optional[_Union[Told, _Mapping]] = ..., state: _Optional[_Union[State, _Mapping]] = ..., dropped: _Optional[_Union[Dropped, _Mapping]] = ...) -> None: ...

class Joined(_message.Message):
    __slots__ = ["attempt", "has_siblings", "hostname", "per_rank", "pid", "process_id", "rank", "relayed_by", "series", "session", "world_size"]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    HAS_SIBLINGS_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    PER_RANK_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    RELAYED_BY_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    WORLD_SIZE_FIELD_NUMBER: _ClassVar[int]
    attempt: Attempt
    has_siblings: bool
    hostname: str
    per_rank: str
    pid: int
    process_id: bytes
    rank: int
    relayed_by: bytes
    series: str
    session: bytes
    world_size: int
    def __init__(self, session: _Optional[bytes] = ..., rank: _Optional[int] = ..., attempt: _Optional[_Union[Attempt, _Mapping]] = ..., world_size: _Optional[int] = ..., hostname: _Optional[str] = ..., pid: _Optional[int] = ..., has_siblings: bool = ..., relayed_by: _Optional[bytes] = ..., per_rank: _Optional[str] = ..., series: _Optional[str] = ..., process_id: _Optional[bytes] = ...) -> None: ...

class Left(_message.Message):
    __slots__ = ["session"]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    def __init__(self, session: _Optional[bytes] = ...) -> None: ...

class Number(_message.Message):
    __slots__ = ["name", "number"]
    NAME_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    name: str
    number: int
    def __init__(self, name: _Optional[str] = ..., number: _Optional[int] = ...) -> None: ...

class Opening(_message.Message):
    __slots__ = ["first", "state", "version"]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    first: int
    state: State
    version: int
    def __init__(self, version: _Optional[int] = ..., first: _Optional[int] = ..., state: _Optional[_Union[State, _Mapping]] = ...) -> None: ...

class RelayedEntries(_message.Message):
    __slots__ = ["entries", "members", "tags", "version"]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[RelayedEntry]
    members: _containers.RepeatedCompositeFieldContainer[Joined]
    tags: _containers.RepeatedCompositeFieldContainer[RelayedTag]
    version: int
    def __init__(self, version: _Optional[int] = ..., tags: _Optional[_Iterable[_Union[RelayedTag, _Mapping]]] = ..., members: _Optional[_Iterable[_Union[Joined, _Mapping]]] = ..., entries: _Optional[_Iterable[_Union[RelayedEntry, _Mapping]]] = ...) -> None: ...

class RelayedEntry(_message.Message):
    __slots__ = ["entry", "number"]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    entry: bytes
    number: int
    def __init__(self, number: _Optional[int] = ..., entry: _Optional[bytes] = ...) -> None: ...

class RelayedTag(_message.Message):
    __slots__ = ["index", "tag"]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    index: int
    tag: Tag
    def __init__(self, index: _Optional[int] = ..., tag: _Optional[_Union[Tag, _Mapping]] = ...) -> None: ...

class Rewound(_message.Message):
    __slots__ = ["attempt", "is_own", "session", "step"]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    IS_OWN_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    attempt: Attempt
    is_own: bool
    session: bytes
    step: int
    def __init__(self, attempt: _Optional[_Union[Attempt, _Mapping]] = ..., step: _Optional[int] = ..., session: _Optional[bytes] = ..., is_own: bool = ...) -> None: ...

class Scalars(_message.Message):
    __slots__ = ["session", "step", "tag", "value", "wall_time"]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    WALL_TIME_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    step: bytes
    tag: bytes
    value: bytes
    wall_time: bytes
    def __init__(self, session: _Optional[bytes] = ..., tag: _Optional[bytes] = ..., step: _Optional[bytes] = ..., wall_time: _Optional[bytes] = ..., value: _Optional[bytes] = ...) -> None: ...

class State(_message.Message):
    __slots__ = ["arrays", "attempt", "began", "members", "numbers", "tags"]
    ARRAYS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    BEGAN_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    arrays: _containers.RepeatedCompositeFieldContainer[Array]
    attempt: Attempt
    began: Began
    members: _containers.RepeatedCompositeFieldContainer[Joined]
    numbers: _containers.RepeatedCompositeFieldContainer[Number]
    tags: Tags
    def __init__(self, began: _Optional[_Union[Began, _Mapping]] = ..., attempt: _Optional[_Union[Attempt, _Mapping]] = ..., tags: _Optional[_Union[Tags, _Mapping]] = ..., members: _Optional[_Iterable[_Union[Joined, _Mapping]]] = ..., numbers: _Optional[_Iterable[_Union[Number, _Mapping]]] = ..., arrays: _Optional[_Iterable[_Union[Array, _Mapping]]] = ...) -> None: ...

class Summary(_message.Message):
    __slots__ = ["partial", "session", "step", "tag", "wall_time"]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    WALL_TIME_FIELD_NUMBER: _ClassVar[int]
    partial: bytes
    session: bytes
    step: int
    tag: int
    wall_time: float
    def __init__(self, session: _Optional[bytes] = ..., tag: _Optional[int] = ..., step: _Optional[int] = ..., wall_time: _Optional[float] = ..., partial: _Optional[bytes] = ...) -> None: ...

class Tag(_message.Message):
    __slots__ = ["kind", "name", "reduce"]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REDUCE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: bytes
    reduce: str
    def __init__(self, name: _Optional[bytes] = ..., kind: _Optional[str] = ..., reduce: _Optional[str] = ...) -> None: ...

class Tags(_message.Message):
    __slots__ = ["first", "tags"]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    first: int
    tags: _containers.RepeatedCompositeFieldContainer[Tag]
    def __init__(self, first: _Optional[int] = ..., tags: _Optional[_Iterable[_Union[Tag, _Mapping]]] = ...) -> None: ...

class Told(_message.Message):
    __slots__ = ["sequence", "step", "text", "wall_time"]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    WALL_TIME_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    step: int
    text: str
    wall_time: float
    def __init__(self, sequence: _Optional[int] = ..., text: _Optional[str] = ..., step: _Optional[int] = ..., wall_time: _Optional[float] = ...) -> None: ...
