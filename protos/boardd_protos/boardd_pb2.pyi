from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

CAPTURE_FAILED: Reason
DAEMON_KILLED: Reason
DESCRIPTOR: _descriptor.FileDescriptor
ELSEWHERE: Reason
INVALID_NAME: Reason
INVALID_RECORD: Reason
INVALID_TENSOR: Reason
LEVEL_UNSPECIFIED: Level
NOT_A_DIRECTORY: Reason
OUTSIDE_ROOTS: Reason
PROTOCOL_VERSION: Reason
REASON_UNSPECIFIED: Reason
REDUCTION_FAILED: Reason
RUN_LOCKED: Reason
RUN_REFUSED: Reason
SUPERSEDED: Reason
SYNCED: Level
TENSOR_LOST: Reason
TENSOR_TOO_LARGE: Reason
TOO_MANY_RUNS: Reason
TOO_MANY_SERIES: Reason
TOO_MANY_SESSIONS: Reason
UNAUTHENTICATED: Reason
UNDEFINED_SERIES: Reason
UNKNOWN_SESSION: Reason
UNSUPPORTED: Reason
UNWRITABLE: Reason
WRITTEN: Level

class Acknowledged(_message.Message):
    __slots__ = ["held", "settled_sequence", "written_sequence"]
    HELD_FIELD_NUMBER: _ClassVar[int]
    SETTLED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    held: _containers.RepeatedCompositeFieldContainer[HeldRun]
    settled_sequence: int
    written_sequence: int
    def __init__(self, written_sequence: _Optional[int] = ..., settled_sequence: _Optional[int] = ..., held: _Optional[_Iterable[_Union[HeldRun, _Mapping]]] = ...) -> None: ...

class Attach(_message.Message):
    __slots__ = ["log_from", "session_id"]
    LOG_FROM_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    log_from: LogPosition
    session_id: bytes
    def __init__(self, session_id: _Optional[bytes] = ..., log_from: _Optional[_Union[LogPosition, _Mapping]] = ...) -> None: ...

class Audio(_message.Message):
    __slots__ = ["sample_rate"]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    sample_rate: int
    def __init__(self, sample_rate: _Optional[int] = ...) -> None: ...

class BudgetStatus(_message.Message):
    __slots__ = ["held", "limit", "name"]
    HELD_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    held: int
    limit: int
    name: str
    def __init__(self, name: _Optional[str] = ..., held: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class Chart(_message.Message):
    __slots__ = ["is_margin", "tags", "title"]
    IS_MARGIN_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    is_margin: bool
    tags: _containers.RepeatedScalarFieldContainer[str]
    title: str
    def __init__(self, title: _Optional[str] = ..., is_margin: bool = ..., tags: _Optional[_Iterable[str]] = ...) -> None: ...

class ChartCategory(_message.Message):
    __slots__ = ["charts", "title"]
    CHARTS_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    charts: _containers.RepeatedCompositeFieldContainer[Chart]
    title: str
    def __init__(self, title: _Optional[str] = ..., charts: _Optional[_Iterable[_Union[Chart, _Mapping]]] = ...) -> None: ...

class ClientMessage(_message.Message):
    __slots__ = ["attach", "chunk", "committed", "definitions", "heard_rejections", "records", "report"]
    ATTACH_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    DEFINITIONS_FIELD_NUMBER: _ClassVar[int]
    HEARD_REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    attach: Attach
    chunk: TensorChunk
    committed: LogPosition
    definitions: Definitions
    heard_rejections: int
    records: Records
    report: ClientReport
    def __init__(self, attach: _Optional[_Union[Attach, _Mapping]] = ..., definitions: _Optional[_Union[Definitions, _Mapping]] = ..., records: _Optional[_Union[Records, _Mapping]] = ..., chunk: _Optional[_Union[TensorChunk, _Mapping]] = ..., report: _Optional[_Union[ClientReport, _Mapping]] = ..., committed: _Optional[_Union[LogPosition, _Mapping]] = ..., heard_rejections: _Optional[int] = ...) -> None: ...

class ClientReport(_message.Message):
    __slots__ = ["dropped"]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    dropped: _containers.RepeatedCompositeFieldContainer[DropCount]
    def __init__(self, dropped: _Optional[_Iterable[_Union[DropCount, _Mapping]]] = ...) -> None: ...

class CloseReply(_message.Message):
    __slots__ = ["closed", "message", "written_sequence"]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    closed: bool
    message: str
    written_sequence: int
    def __init__(self, closed: bool = ..., written_sequence: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class CloseRequest(_message.Message):
    __slots__ = ["session_id", "timeout_secs"]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECS_FIELD_NUMBER: _ClassVar[int]
    session_id: bytes
    timeout_secs: float
    def __init__(self, session_id: _Optional[bytes] = ..., timeout_secs: _Optional[float] = ...) -> None: ...

class Counters(_message.Message):
    __slots__ = ["accepted", "dropped_by_client", "duplicates", "pending", "rejected", "written", "written_bytes"]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_BY_CLIENT_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_BYTES_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    dropped_by_client: _containers.RepeatedCompositeFieldContainer[DropCount]
    duplicates: int
    pending: int
    rejected: _containers.RepeatedCompositeFieldContainer[RejectCount]
    written: int
    written_bytes: int
    def __init__(self, accepted: _Optional[int] = ..., written: _Optional[int] = ..., pending: _Optional[int] = ..., rejected: _Optional[_Iterable[_Union[RejectCount, _Mapping]]] = ..., duplicates: _Optional[int] = ..., written_bytes: _Optional[int] = ..., dropped_by_client: _Optional[_Iterable[_Union[DropCount, _Mapping]]] = ...) -> None: ...

class CustomScalars(_message.Message):
    __slots__ = ["categories"]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    categories: _containers.RepeatedCompositeFieldContainer[ChartCategory]
    def __init__(self, categories: _Optional[_Iterable[_Union[ChartCategory, _Mapping]]] = ...) -> None: ...

class DaemonMessage(_message.Message):
    __slots__ = ["acknowledged", "draining", "notice", "rejected", "run_refused"]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    RUN_REFUSED_FIELD_NUMBER: _ClassVar[int]
    acknowledged: Acknowledged
    draining: Draining
    notice: Notice
    rejected: Rejected
    run_refused: RunRefused
    def __init__(self, acknowledged: _Optional[_Union[Acknowledged, _Mapping]] = ..., rejected: _Optional[_Union[Rejected, _Mapping]] = ..., run_refused: _Optional[_Union[RunRefused, _Mapping]] = ..., draining: _Optional[_Union[Draining, _Mapping]] = ..., notice: _Optional[_Union[Notice, _Mapping]] = ...) -> None: ...

class Definitions(_message.Message):
    __slots__ = ["runs", "series"]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[RunDefinition]
    series: _containers.RepeatedCompositeFieldContainer[SeriesDefinition]
    def __init__(self, runs: _Optional[_Iterable[_Union[RunDefinition, _Mapping]]] = ..., series: _Optional[_Iterable[_Union[SeriesDefinition, _Mapping]]] = ...) -> None: ...

class Directory(_message.Message):
    __slots__ = ["device", "inode", "path"]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    INODE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    device: int
    inode: int
    path: str
    def __init__(self, path: _Optional[str] = ..., device: _Optional[int] = ..., inode: _Optional[int] = ...) -> None: ...

class Draining(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class DropCount(_message.Message):
    __slots__ = ["reason", "records", "run", "size_bytes", "step"]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    reason: str
    records: int
    run: int
    size_bytes: int
    step: int
    def __init__(self, reason: _Optional[str] = ..., records: _Optional[int] = ..., size_bytes: _Optional[int] = ..., run: _Optional[int] = ..., step: _Optional[int] = ...) -> None: ...

class DurationStatus(_message.Message):
    __slots__ = ["counts", "name", "sum_secs", "upper_secs"]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SUM_SECS_FIELD_NUMBER: _ClassVar[int]
    UPPER_SECS_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.RepeatedScalarFieldContainer[int]
    name: str
    sum_secs: float
    upper_secs: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, name: _Optional[str] = ..., sum_secs: _Optional[float] = ..., upper_secs: _Optional[_Iterable[float]] = ..., counts: _Optional[_Iterable[int]] = ...) -> None: ...

class Edges(_message.Message):
    __slots__ = ["edges"]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    edges: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, edges: _Optional[_Iterable[float]] = ...) -> None: ...

class Embedding(_message.Message):
    __slots__ = ["has_step", "images_tensor", "labels_tensor", "metadata_header", "metadata_tensor", "project_to"]
    HAS_STEP_FIELD_NUMBER: _ClassVar[int]
    IMAGES_TENSOR_FIELD_NUMBER: _ClassVar[int]
    LABELS_TENSOR_FIELD_NUMBER: _ClassVar[int]
    METADATA_HEADER_FIELD_NUMBER: _ClassVar[int]
    METADATA_TENSOR_FIELD_NUMBER: _ClassVar[int]
    PROJECT_TO_FIELD_NUMBER: _ClassVar[int]
    has_step: bool
    images_tensor: int
    labels_tensor: int
    metadata_header: _containers.RepeatedScalarFieldContainer[str]
    metadata_tensor: int
    project_to: int
    def __init__(self, labels_tensor: _Optional[int] = ..., images_tensor: _Optional[int] = ..., metadata_header: _Optional[_Iterable[str]] = ..., project_to: _Optional[int] = ..., has_step: bool = ..., metadata_tensor: _Optional[int] = ...) -> None: ...

class FlushReply(_message.Message):
    __slots__ = ["message", "reached", "written_sequence"]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REACHED_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    message: str
    reached: bool
    written_sequence: int
    def __init__(self, reached: bool = ..., written_sequence: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class FlushRequest(_message.Message):
    __slots__ = ["level", "runs", "sequence", "session_id", "timeout_secs"]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECS_FIELD_NUMBER: _ClassVar[int]
    level: Level
    runs: _containers.RepeatedScalarFieldContainer[int]
    sequence: int
    session_id: bytes
    timeout_secs: float
    def __init__(self, session_id: _Optional[bytes] = ..., sequence: _Optional[int] = ..., level: _Optional[_Union[Level, str]] = ..., timeout_secs: _Optional[float] = ..., runs: _Optional[_Iterable[int]] = ...) -> None: ...

class Graph(_message.Message):
    __slots__ = ["mxnet_json", "nodes"]
    MXNET_JSON_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    mxnet_json: str
    nodes: GraphNodes
    def __init__(self, mxnet_json: _Optional[str] = ..., nodes: _Optional[_Union[GraphNodes, _Mapping]] = ...) -> None: ...

class GraphNode(_message.Message):
    __slots__ = ["attributes", "inputs", "name", "op", "output_shapes"]
    class AttributesEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SHAPES_FIELD_NUMBER: _ClassVar[int]
    attributes: _containers.ScalarMap[str, str]
    inputs: _containers.RepeatedScalarFieldContainer[str]
    name: str
    op: str
    output_shapes: _containers.RepeatedCompositeFieldContainer[Shape]
    def __init__(self, name: _Optional[str] = ..., op: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ..., attributes: _Optional[_Mapping[str, str]] = ..., output_shapes: _Optional[_Iterable[_Union[Shape, _Mapping]]] = ...) -> None: ...

class GraphNodes(_message.Message):
    __slots__ = ["nodes"]
    NODES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[GraphNode]
    def __init__(self, nodes: _Optional[_Iterable[_Union[GraphNode, _Mapping]]] = ...) -> None: ...

class GroupStatus(_message.Message):
    __slots__ = ["backlog_bytes", "directory", "kind_conflicts", "last_rank", "late", "open_bytes", "open_points", "ranks", "rejected", "step_lag", "world_size"]
    BACKLOG_BYTES_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    KIND_CONFLICTS_FIELD_NUMBER: _ClassVar[int]
    LAST_RANK_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    OPEN_BYTES_FIELD_NUMBER: _ClassVar[int]
    OPEN_POINTS_FIELD_NUMBER: _ClassVar[int]
    RANKS_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    STEP_LAG_FIELD_NUMBER: _ClassVar[int]
    WORLD_SIZE_FIELD_NUMBER: _ClassVar[int]
    backlog_bytes: int
    directory: str
    kind_conflicts: int
    last_rank: int
    late: int
    open_bytes: int
    open_points: int
    ranks: int
    rejected: _containers.RepeatedCompositeFieldContainer[RejectCount]
    step_lag: int
    world_size: int
    def __init__(self, directory: _Optional[str] = ..., world_size: _Optional[int] = ..., ranks: _Optional[int] = ..., last_rank: _Optional[int] = ..., step_lag: _Optional[int] = ..., open_points: _Optional[int] = ..., open_bytes: _Optional[int] = ..., late: _Optional[int] = ..., rejected: _Optional[_Iterable[_Union[RejectCount, _Mapping]]] = ..., kind_conflicts: _Optional[int] = ..., backlog_bytes: _Optional[int] = ...) -> None: ...

class HParamDomain(_message.Message):
    __slots__ = ["hparam", "values"]
    HPARAM_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    hparam: str
    values: _containers.RepeatedCompositeFieldContainer[HParamValue]
    def __init__(self, hparam: _Optional[str] = ..., values: _Optional[_Iterable[_Union[HParamValue, _Mapping]]] = ...) -> None: ...

class HParamValue(_message.Message):
    __slots__ = ["flag", "number", "text"]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    flag: bool
    number: float
    text: str
    def __init__(self, number: _Optional[float] = ..., text: _Optional[str] = ..., flag: bool = ...) -> None: ...

class HParams(_message.Message):
    __slots__ = ["domains", "hparams", "metrics", "names"]
    class HparamsEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: HParamValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[HParamValue, _Mapping]] = ...) -> None: ...
    DOMAINS_FIELD_NUMBER: _ClassVar[int]
    HPARAMS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    domains: _containers.RepeatedCompositeFieldContainer[HParamDomain]
    hparams: _containers.MessageMap[str, HParamValue]
    metrics: _containers.RepeatedScalarFieldContainer[str]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, hparams: _Optional[_Mapping[str, HParamValue]] = ..., metrics: _Optional[_Iterable[str]] = ..., domains: _Optional[_Iterable[_Union[HParamDomain, _Mapping]]] = ..., names: _Optional[_Iterable[str]] = ...) -> None: ...

class Health(_message.Message):
    __slots__ = ["names", "part", "parts", "sizes", "tag"]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    part: int
    parts: int
    sizes: _containers.RepeatedScalarFieldContainer[int]
    tag: str
    def __init__(self, tag: _Optional[str] = ..., names: _Optional[_Iterable[str]] = ..., sizes: _Optional[_Iterable[int]] = ..., part: _Optional[int] = ..., parts: _Optional[int] = ...) -> None: ...

class HeldRun(_message.Message):
    __slots__ = ["first_sequence", "run", "trouble"]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    first_sequence: int
    run: int
    trouble: str
    def __init__(self, run: _Optional[int] = ..., first_sequence: _Optional[int] = ..., trouble: _Optional[str] = ...) -> None: ...

class Histogram(_message.Message):
    __slots__ = ["count", "edges", "rule"]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    count: int
    edges: Edges
    rule: str
    def __init__(self, count: _Optional[int] = ..., edges: _Optional[_Union[Edges, _Mapping]] = ..., rule: _Optional[str] = ...) -> None: ...

class HistogramRaw(_message.Message):
    __slots__ = ["max", "min", "num", "sum", "sum_squares"]
    MAX_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    NUM_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    SUM_SQUARES_FIELD_NUMBER: _ClassVar[int]
    max: float
    min: float
    num: float
    sum: float
    sum_squares: float
    def __init__(self, min: _Optional[float] = ..., max: _Optional[float] = ..., num: _Optional[float] = ..., sum: _Optional[float] = ..., sum_squares: _Optional[float] = ...) -> None: ...

class Histograms(_message.Message):
    __slots__ = ["bins", "series", "sizes"]
    BINS_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    bins: Histogram
    series: _containers.RepeatedScalarFieldContainer[int]
    sizes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, bins: _Optional[_Union[Histogram, _Mapping]] = ..., series: _Optional[_Iterable[int]] = ..., sizes: _Optional[_Iterable[int]] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ["box_labels", "dataformats", "has_boxes", "normalize", "nrow", "pad_value", "padding", "rescale", "value_range"]
    BOX_LABELS_FIELD_NUMBER: _ClassVar[int]
    DATAFORMATS_FIELD_NUMBER: _ClassVar[int]
    HAS_BOXES_FIELD_NUMBER: _ClassVar[int]
    NORMALIZE_FIELD_NUMBER: _ClassVar[int]
    NROW_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    PAD_VALUE_FIELD_NUMBER: _ClassVar[int]
    RESCALE_FIELD_NUMBER: _ClassVar[int]
    VALUE_RANGE_FIELD_NUMBER: _ClassVar[int]
    box_labels: _containers.RepeatedScalarFieldContainer[str]
    dataformats: str
    has_boxes: bool
    normalize: str
    nrow: int
    pad_value: int
    padding: int
    rescale: float
    value_range: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, dataformats: _Optional[str] = ..., nrow: _Optional[int] = ..., padding: _Optional[int] = ..., normalize: _Optional[str] = ..., value_range: _Optional[_Iterable[float]] = ..., pad_value: _Optional[int] = ..., has_boxes: bool = ..., box_labels: _Optional[_Iterable[str]] = ..., rescale: _Optional[float] = ...) -> None: ...

class LogPosition(_message.Message):
    __slots__ = ["position", "sequence"]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    position: int
    sequence: int
    def __init__(self, sequence: _Optional[int] = ..., position: _Optional[int] = ...) -> None: ...

class Mesh(_message.Message):
    __slots__ = ["colors_tensor", "config_json", "faces_tensor"]
    COLORS_TENSOR_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    FACES_TENSOR_FIELD_NUMBER: _ClassVar[int]
    colors_tensor: int
    config_json: str
    faces_tensor: int
    def __init__(self, colors_tensor: _Optional[int] = ..., faces_tensor: _Optional[int] = ..., config_json: _Optional[str] = ...) -> None: ...

class Notice(_message.Message):
    __slots__ = ["message"]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: str
    def __init__(self, message: _Optional[str] = ...) -> None: ...

class OpenReply(_message.Message):
    __slots__ = ["daemon_version", "holds_maps", "lease_secs", "max_message_bytes", "max_tensor_bytes", "protocol_version", "received_sequence", "revision", "sync_on_flush", "takes_commits", "written_sequence"]
    DAEMON_VERSION_FIELD_NUMBER: _ClassVar[int]
    HOLDS_MAPS_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECS_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_TENSOR_BYTES_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SYNC_ON_FLUSH_FIELD_NUMBER: _ClassVar[int]
    TAKES_COMMITS_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    daemon_version: str
    holds_maps: bool
    lease_secs: float
    max_message_bytes: int
    max_tensor_bytes: int
    protocol_version: int
    received_sequence: int
    revision: int
    sync_on_flush: bool
    takes_commits: bool
    written_sequence: int
    def __init__(self, protocol_version: _Optional[int] = ..., daemon_version: _Optional[str] = ..., received_sequence: _Optional[int] = ..., written_sequence: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., max_tensor_bytes: _Optional[int] = ..., lease_secs: _Optional[float] = ..., holds_maps: bool = ..., sync_on_flush: bool = ..., takes_commits: bool = ..., revision: _Optional[int] = ...) -> None: ...

class OpenRequest(_message.Message):
    __slots__ = ["acknowledged_sequence", "client_version", "heard_rejections", "hostname", "max_protocol_version", "min_protocol_version", "pid", "program", "session_id"]
    ACKNOWLEDGED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CLIENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    HEARD_REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    MAX_PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MIN_PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    acknowledged_sequence: int
    client_version: str
    heard_rejections: int
    hostname: str
    max_protocol_version: int
    min_protocol_version: int
    pid: int
    program: str
    session_id: bytes
    def __init__(self, min_protocol_version: _Optional[int] = ..., max_protocol_version: _Optional[int] = ..., session_id: _Optional[bytes] = ..., acknowledged_sequence: _Optional[int] = ..., hostname: _Optional[str] = ..., pid: _Optional[int] = ..., program: _Optional[str] = ..., client_version: _Optional[str] = ..., heard_rejections: _Optional[int] = ...) -> None: ...

class Payload(_message.Message):
    __slots__ = ["audio", "custom_scalars", "embedding", "graph", "health", "histogram", "histogram_raw", "histograms", "hparams", "image", "mesh", "pr_curve", "pr_curve_raw", "ready", "slots", "tensor", "tensors", "text", "video"]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_SCALARS_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAMS_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAM_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAM_RAW_FIELD_NUMBER: _ClassVar[int]
    HPARAMS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    MESH_FIELD_NUMBER: _ClassVar[int]
    PR_CURVE_FIELD_NUMBER: _ClassVar[int]
    PR_CURVE_RAW_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    VIDEO_FIELD_NUMBER: _ClassVar[int]
    audio: Audio
    custom_scalars: CustomScalars
    embedding: Embedding
    graph: Graph
    health: Health
    histogram: Histogram
    histogram_raw: HistogramRaw
    histograms: Histograms
    hparams: HParams
    image: Image
    mesh: Mesh
    pr_curve: PrCurve
    pr_curve_raw: PrCurveRaw
    ready: Ready
    slots: _containers.RepeatedCompositeFieldContainer[Slot]
    tensor: TensorSummary
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    text: Text
    video: Video
    def __init__(self, tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., slots: _Optional[_Iterable[_Union[Slot, _Mapping]]] = ..., histogram: _Optional[_Union[Histogram, _Mapping]] = ..., image: _Optional[_Union[Image, _Mapping]] = ..., embedding: _Optional[_Union[Embedding, _Mapping]] = ..., audio: _Optional[_Union[Audio, _Mapping]] = ..., text: _Optional[_Union[Text, _Mapping]] = ..., pr_curve: _Optional[_Union[PrCurve, _Mapping]] = ..., pr_curve_raw: _Optional[_Union[PrCurveRaw, _Mapping]] = ..., histogram_raw: _Optional[_Union[HistogramRaw, _Mapping]] = ..., graph: _Optional[_Union[Graph, _Mapping]] = ..., video: _Optional[_Union[Video, _Mapping]] = ..., hparams: _Optional[_Union[HParams, _Mapping]] = ..., mesh: _Optional[_Union[Mesh, _Mapping]] = ..., custom_scalars: _Optional[_Union[CustomScalars, _Mapping]] = ..., tensor: _Optional[_Union[TensorSummary, _Mapping]] = ..., ready: _Optional[_Union[Ready, _Mapping]] = ..., histograms: _Optional[_Union[Histograms, _Mapping]] = ..., health: _Optional[_Union[Health, _Mapping]] = ...) -> None: ...

class PrCurve(_message.Message):
    __slots__ = ["num_thresholds"]
    NUM_THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    num_thresholds: int
    def __init__(self, num_thresholds: _Optional[int] = ...) -> None: ...

class PrCurveRaw(_message.Message):
    __slots__ = ["num_thresholds"]
    NUM_THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    num_thresholds: int
    def __init__(self, num_thresholds: _Optional[int] = ...) -> None: ...

class Ready(_message.Message):
    __slots__ = ["is_graph"]
    IS_GRAPH_FIELD_NUMBER: _ClassVar[int]
    is_graph: bool
    def __init__(self, is_graph: bool = ...) -> None: ...

class Records(_message.Message):
    __slots__ = ["frames", "settled_sequence", "sparse"]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    SETTLED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SPARSE_FIELD_NUMBER: _ClassVar[int]
    frames: bytes
    settled_sequence: int
    sparse: bool
    def __init__(self, frames: _Optional[bytes] = ..., sparse: bool = ..., settled_sequence: _Optional[int] = ...) -> None: ...

class RefusedRun(_message.Message):
    __slots__ = ["message", "path", "program", "reason", "refused_at", "times"]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REFUSED_AT_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    message: str
    path: str
    program: str
    reason: Reason
    refused_at: float
    times: int
    def __init__(self, path: _Optional[str] = ..., reason: _Optional[_Union[Reason, str]] = ..., message: _Optional[str] = ..., program: _Optional[str] = ..., refused_at: _Optional[float] = ..., times: _Optional[int] = ...) -> None: ...

class RejectCount(_message.Message):
    __slots__ = ["reason", "records"]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    reason: Reason
    records: int
    def __init__(self, reason: _Optional[_Union[Reason, str]] = ..., records: _Optional[int] = ...) -> None: ...

class Rejected(_message.Message):
    __slots__ = ["is_part", "last_sequence", "message", "number", "reason", "records", "run", "runs", "sequence"]
    IS_PART_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    is_part: bool
    last_sequence: int
    message: str
    number: int
    reason: Reason
    records: int
    run: int
    runs: _containers.RepeatedScalarFieldContainer[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ..., records: _Optional[int] = ..., is_part: bool = ..., reason: _Optional[_Union[Reason, str]] = ..., message: _Optional[str] = ..., last_sequence: _Optional[int] = ..., number: _Optional[int] = ..., run: _Optional[int] = ..., runs: _Optional[_Iterable[int]] = ...) -> None: ...

class RunDefinition(_message.Message):
    __slots__ = ["ancestor", "attempt", "epoch", "filename_suffix", "has_siblings", "latest_epoch", "launch", "logdir", "name", "per_rank", "process_id", "purge_step", "rank", "reduce", "run", "sync_on_flush", "sync_secs", "system_metrics_secs", "tags_as_given", "umask", "world_size"]
    ANCESTOR_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FILENAME_SUFFIX_FIELD_NUMBER: _ClassVar[int]
    HAS_SIBLINGS_FIELD_NUMBER: _ClassVar[int]
    LATEST_EPOCH_FIELD_NUMBER: _ClassVar[int]
    LAUNCH_FIELD_NUMBER: _ClassVar[int]
    LOGDIR_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PER_RANK_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    PURGE_STEP_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    REDUCE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    SYNC_ON_FLUSH_FIELD_NUMBER: _ClassVar[int]
    SYNC_SECS_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_METRICS_SECS_FIELD_NUMBER: _ClassVar[int]
    TAGS_AS_GIVEN_FIELD_NUMBER: _ClassVar[int]
    UMASK_FIELD_NUMBER: _ClassVar[int]
    WORLD_SIZE_FIELD_NUMBER: _ClassVar[int]
    ancestor: Directory
    attempt: int
    epoch: int
    filename_suffix: str
    has_siblings: bool
    latest_epoch: int
    launch: str
    logdir: str
    name: str
    per_rank: str
    process_id: bytes
    purge_step: int
    rank: int
    reduce: str
    run: int
    sync_on_flush: bool
    sync_secs: float
    system_metrics_secs: float
    tags_as_given: bool
    umask: int
    world_size: int
    def __init__(self, run: _Optional[int] = ..., logdir: _Optional[str] = ..., name: _Optional[str] = ..., rank: _Optional[int] = ..., world_size: _Optional[int] = ..., filename_suffix: _Optional[str] = ..., reduce: _Optional[str] = ..., purge_step: _Optional[int] = ..., epoch: _Optional[int] = ..., ancestor: _Optional[_Union[Directory, _Mapping]] = ..., umask: _Optional[int] = ..., sync_secs: _Optional[float] = ..., sync_on_flush: bool = ..., has_siblings: bool = ..., latest_epoch: _Optional[int] = ..., per_rank: _Optional[str] = ..., launch: _Optional[str] = ..., attempt: _Optional[int] = ..., process_id: _Optional[bytes] = ..., tags_as_given: bool = ..., system_metrics_secs: _Optional[float] = ...) -> None: ...

class RunRefused(_message.Message):
    __slots__ = ["message", "reason", "run", "sub_run"]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    SUB_RUN_FIELD_NUMBER: _ClassVar[int]
    message: str
    reason: Reason
    run: int
    sub_run: str
    def __init__(self, run: _Optional[int] = ..., reason: _Optional[_Union[Reason, str]] = ..., message: _Optional[str] = ..., sub_run: _Optional[str] = ...) -> None: ...

class RunStatus(_message.Message):
    __slots__ = ["dropped", "file", "forwarding", "group", "path", "pending", "reducing_about_secs", "reducing_secs", "reducing_tag", "rejected", "series", "steps_backwards", "synced_bytes", "trouble", "written", "written_bytes"]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    FORWARDING_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    REDUCING_ABOUT_SECS_FIELD_NUMBER: _ClassVar[int]
    REDUCING_SECS_FIELD_NUMBER: _ClassVar[int]
    REDUCING_TAG_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    STEPS_BACKWARDS_FIELD_NUMBER: _ClassVar[int]
    SYNCED_BYTES_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_BYTES_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    dropped: int
    file: str
    forwarding: str
    group: GroupStatus
    path: str
    pending: int
    reducing_about_secs: float
    reducing_secs: float
    reducing_tag: str
    rejected: _containers.RepeatedCompositeFieldContainer[RejectCount]
    series: int
    steps_backwards: int
    synced_bytes: int
    trouble: str
    written: int
    written_bytes: int
    def __init__(self, path: _Optional[str] = ..., file: _Optional[str] = ..., written_bytes: _Optional[int] = ..., pending: _Optional[int] = ..., trouble: _Optional[str] = ..., series: _Optional[int] = ..., steps_backwards: _Optional[int] = ..., dropped: _Optional[int] = ..., forwarding: _Optional[str] = ..., group: _Optional[_Union[GroupStatus, _Mapping]] = ..., written: _Optional[int] = ..., synced_bytes: _Optional[int] = ..., reducing_tag: _Optional[str] = ..., reducing_secs: _Optional[float] = ..., reducing_about_secs: _Optional[float] = ..., rejected: _Optional[_Iterable[_Union[RejectCount, _Mapping]]] = ...) -> None: ...

class SeriesDefinition(_message.Message):
    __slots__ = ["reduce", "run", "series", "sub_run", "tag"]
    REDUCE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    SUB_RUN_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    reduce: str
    run: int
    series: int
    sub_run: str
    tag: str
    def __init__(self, series: _Optional[int] = ..., run: _Optional[int] = ..., tag: _Optional[str] = ..., sub_run: _Optional[str] = ..., reduce: _Optional[str] = ...) -> None: ...

class SessionStatus(_message.Message):
    __slots__ = ["attached", "client_version", "counters", "hostname", "map_bytes", "number", "pid", "program", "received_sequence", "written_sequence"]
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    CLIENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    MAP_BYTES_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    attached: bool
    client_version: str
    counters: Counters
    hostname: str
    map_bytes: int
    number: int
    pid: int
    program: str
    received_sequence: int
    written_sequence: int
    def __init__(self, hostname: _Optional[str] = ..., pid: _Optional[int] = ..., program: _Optional[str] = ..., attached: bool = ..., received_sequence: _Optional[int] = ..., written_sequence: _Optional[int] = ..., counters: _Optional[_Union[Counters, _Mapping]] = ..., map_bytes: _Optional[int] = ..., number: _Optional[int] = ..., client_version: _Optional[str] = ...) -> None: ...

class Shape(_message.Message):
    __slots__ = ["sizes"]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    sizes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sizes: _Optional[_Iterable[int]] = ...) -> None: ...

class Slot(_message.Message):
    __slots__ = ["map", "offset", "size_bytes"]
    MAP_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    map: int
    offset: int
    size_bytes: int
    def __init__(self, map: _Optional[int] = ..., offset: _Optional[int] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ["addresses", "answered_at", "budgets", "counters", "durations", "intake_budget_bytes", "intake_bytes", "logdir_roots", "pid", "refused_runs", "rss_bytes", "runs", "sessions", "started_at", "stores", "uptime_secs", "version"]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_AT_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    DURATIONS_FIELD_NUMBER: _ClassVar[int]
    INTAKE_BUDGET_BYTES_FIELD_NUMBER: _ClassVar[int]
    INTAKE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOGDIR_ROOTS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    REFUSED_RUNS_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    STORES_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    addresses: _containers.RepeatedScalarFieldContainer[str]
    answered_at: float
    budgets: _containers.RepeatedCompositeFieldContainer[BudgetStatus]
    counters: Counters
    durations: _containers.RepeatedCompositeFieldContainer[DurationStatus]
    intake_budget_bytes: int
    intake_bytes: int
    logdir_roots: _containers.RepeatedScalarFieldContainer[str]
    pid: int
    refused_runs: _containers.RepeatedCompositeFieldContainer[RefusedRun]
    rss_bytes: int
    runs: _containers.RepeatedCompositeFieldContainer[RunStatus]
    sessions: _containers.RepeatedCompositeFieldContainer[SessionStatus]
    started_at: float
    stores: _containers.RepeatedCompositeFieldContainer[StoreStatus]
    uptime_secs: float
    version: str
    def __init__(self, version: _Optional[str] = ..., pid: _Optional[int] = ..., started_at: _Optional[float] = ..., uptime_secs: _Optional[float] = ..., logdir_roots: _Optional[_Iterable[str]] = ..., addresses: _Optional[_Iterable[str]] = ..., counters: _Optional[_Union[Counters, _Mapping]] = ..., sessions: _Optional[_Iterable[_Union[SessionStatus, _Mapping]]] = ..., runs: _Optional[_Iterable[_Union[RunStatus, _Mapping]]] = ..., rss_bytes: _Optional[int] = ..., intake_bytes: _Optional[int] = ..., intake_budget_bytes: _Optional[int] = ..., refused_runs: _Optional[_Iterable[_Union[RefusedRun, _Mapping]]] = ..., budgets: _Optional[_Iterable[_Union[BudgetStatus, _Mapping]]] = ..., durations: _Optional[_Iterable[_Union[DurationStatus, _Mapping]]] = ..., answered_at: _Optional[float] = ..., stores: _Optional[_Iterable[_Union[StoreStatus, _Mapping]]] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class StoreStatus(_message.Message):
    __slots__ = ["failures", "last_error", "oldest_secs", "pending_bytes", "pending_files", "retry_secs", "shipped_bytes", "shipped_files", "url"]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    OLDEST_SECS_FIELD_NUMBER: _ClassVar[int]
    PENDING_BYTES_FIELD_NUMBER: _ClassVar[int]
    PENDING_FILES_FIELD_NUMBER: _ClassVar[int]
    RETRY_SECS_FIELD_NUMBER: _ClassVar[int]
    SHIPPED_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHIPPED_FILES_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    failures: int
    last_error: str
    oldest_secs: float
    pending_bytes: int
    pending_files: int
    retry_secs: float
    shipped_bytes: int
    shipped_files: int
    url: str
    def __init__(self, url: _Optional[str] = ..., pending_files: _Optional[int] = ..., pending_bytes: _Optional[int] = ..., oldest_secs: _Optional[float] = ..., shipped_files: _Optional[int] = ..., shipped_bytes: _Optional[int] = ..., failures: _Optional[int] = ..., last_error: _Optional[str] = ..., retry_secs: _Optional[float] = ...) -> None: ...

class Tensor(_message.Message):
    __slots__ = ["dtype", "shape"]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class TensorChunk(_message.Message):
    __slots__ = ["data", "offset", "sequence", "tensor"]
    DATA_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    offset: int
    sequence: int
    tensor: int
    def __init__(self, sequence: _Optional[int] = ..., tensor: _Optional[int] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class TensorSummary(_message.Message):
    __slots__ = ["description", "display_name", "double_precision", "is_scalar"]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_PRECISION_FIELD_NUMBER: _ClassVar[int]
    IS_SCALAR_FIELD_NUMBER: _ClassVar[int]
    description: str
    display_name: str
    double_precision: bool
    is_scalar: bool
    def __init__(self, is_scalar: bool = ..., display_name: _Optional[str] = ..., description: _Optional[str] = ..., double_precision: bool = ...) -> None: ...

class Text(_message.Message):
    __slots__ = ["markdown"]
    MARKDOWN_FIELD_NUMBER: _ClassVar[int]
    markdown: str
    def __init__(self, markdown: _Optional[str] = ...) -> None: ...

class Video(_message.Message):
    __slots__ = ["dataformats", "frames_per_second"]
    DATAFORMATS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    dataformats: str
    frames_per_second: float
    def __init__(self, frames_per_second: _Optional[float] = ..., dataformats: _Optional[str] = ...) -> None: ...

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class Level(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
