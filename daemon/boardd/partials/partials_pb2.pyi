from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Curve(_message.Message):
    __slots__ = ["counts", "is_raw"]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    IS_RAW_FIELD_NUMBER: _ClassVar[int]
    counts: ExactArray
    is_raw: bool
    def __init__(self, counts: _Optional[_Union[ExactArray, _Mapping]] = ..., is_raw: bool = ...) -> None: ...

class EdgesHistogram(_message.Message):
    __slots__ = ["counts", "edges", "is_default", "moments"]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    MOMENTS_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.RepeatedScalarFieldContainer[int]
    edges: _containers.RepeatedScalarFieldContainer[float]
    is_default: bool
    moments: Moments
    def __init__(self, is_default: bool = ..., edges: _Optional[_Iterable[float]] = ..., counts: _Optional[_Iterable[int]] = ..., moments: _Optional[_Union[Moments, _Mapping]] = ...) -> None: ...

class Embedding(_message.Message):
    __slots__ = ["columns", "dtype", "has_step", "header", "image_dtype", "image_shape", "label_columns", "limit", "project_to", "rows"]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    HAS_STEP_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    IMAGE_DTYPE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_SHAPE_FIELD_NUMBER: _ClassVar[int]
    LABEL_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PROJECT_TO_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    columns: int
    dtype: str
    has_step: bool
    header: _containers.RepeatedScalarFieldContainer[str]
    image_dtype: str
    image_shape: _containers.RepeatedScalarFieldContainer[int]
    label_columns: int
    limit: int
    project_to: int
    rows: _containers.RepeatedCompositeFieldContainer[Rows]
    def __init__(self, columns: _Optional[int] = ..., dtype: _Optional[str] = ..., header: _Optional[_Iterable[str]] = ..., label_columns: _Optional[int] = ..., image_dtype: _Optional[str] = ..., image_shape: _Optional[_Iterable[int]] = ..., project_to: _Optional[int] = ..., has_step: bool = ..., rows: _Optional[_Iterable[_Union[Rows, _Mapping]]] = ..., limit: _Optional[int] = ...) -> None: ...

class ExactArray(_message.Message):
    __slots__ = ["counts", "sums"]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    SUMS_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.RepeatedScalarFieldContainer[int]
    sums: _containers.RepeatedCompositeFieldContainer[ExactSum]
    def __init__(self, counts: _Optional[_Iterable[int]] = ..., sums: _Optional[_Iterable[_Union[ExactSum, _Mapping]]] = ...) -> None: ...

class ExactSum(_message.Message):
    __slots__ = ["digits", "exponent"]
    DIGITS_FIELD_NUMBER: _ClassVar[int]
    EXPONENT_FIELD_NUMBER: _ClassVar[int]
    digits: bytes
    exponent: int
    def __init__(self, exponent: _Optional[int] = ..., digits: _Optional[bytes] = ...) -> None: ...

class First(_message.Message):
    __slots__ = ["content", "rank"]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    rank: int
    def __init__(self, rank: _Optional[int] = ..., content: _Optional[bytes] = ...) -> None: ...

class FloatSum(_message.Message):
    __slots__ = ["finite", "nan_count", "negative_infinity_count", "positive_infinity_count"]
    FINITE_FIELD_NUMBER: _ClassVar[int]
    NAN_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_INFINITY_COUNT_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_INFINITY_COUNT_FIELD_NUMBER: _ClassVar[int]
    finite: ExactSum
    nan_count: int
    negative_infinity_count: int
    positive_infinity_count: int
    def __init__(self, finite: _Optional[_Union[ExactSum, _Mapping]] = ..., nan_count: _Optional[int] = ..., positive_infinity_count: _Optional[int] = ..., negative_infinity_count: _Optional[int] = ...) -> None: ...

class GridHistogram(_message.Message):
    __slots__ = ["bins", "counts", "exponent", "first", "moments", "rule"]
    BINS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    EXPONENT_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    MOMENTS_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    bins: int
    counts: _containers.RepeatedScalarFieldContainer[int]
    exponent: int
    first: int
    moments: Moments
    rule: str
    def __init__(self, bins: _Optional[int] = ..., rule: _Optional[str] = ..., exponent: _Optional[int] = ..., first: _Optional[int] = ..., counts: _Optional[_Iterable[int]] = ..., moments: _Optional[_Union[Moments, _Mapping]] = ...) -> None: ...

class Images(_message.Message):
    __slots__ = ["channels", "height", "limit", "tiles", "width"]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    TILES_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    channels: int
    height: int
    limit: int
    tiles: _containers.RepeatedCompositeFieldContainer[Tile]
    width: int
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ..., channels: _Optional[int] = ..., tiles: _Optional[_Iterable[_Union[Tile, _Mapping]]] = ..., limit: _Optional[int] = ...) -> None: ...

class Moments(_message.Message):
    __slots__ = ["max", "min", "nan_count", "negative_infinity_count", "num", "positive_infinity_count", "square_overflow_count", "squares", "sum"]
    MAX_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    NAN_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_INFINITY_COUNT_FIELD_NUMBER: _ClassVar[int]
    NUM_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_INFINITY_COUNT_FIELD_NUMBER: _ClassVar[int]
    SQUARES_FIELD_NUMBER: _ClassVar[int]
    SQUARE_OVERFLOW_COUNT_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    max: float
    min: float
    nan_count: int
    negative_infinity_count: int
    num: int
    positive_infinity_count: int
    square_overflow_count: int
    squares: ExactSum
    sum: ExactSum
    def __init__(self, num: _Optional[int] = ..., min: _Optional[float] = ..., max: _Optional[float] = ..., sum: _Optional[_Union[ExactSum, _Mapping]] = ..., squares: _Optional[_Union[ExactSum, _Mapping]] = ..., square_overflow_count: _Optional[int] = ..., nan_count: _Optional[int] = ..., positive_infinity_count: _Optional[int] = ..., negative_infinity_count: _Optional[int] = ...) -> None: ...

class Partial(_message.Message):
    __slots__ = ["shares"]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    shares: _containers.RepeatedCompositeFieldContainer[Share]
    def __init__(self, shares: _Optional[_Iterable[_Union[Share, _Mapping]]] = ...) -> None: ...

class RawHistogram(_message.Message):
    __slots__ = ["counts", "limits", "max", "min", "num", "squares", "sum"]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    NUM_FIELD_NUMBER: _ClassVar[int]
    SQUARES_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    counts: ExactArray
    limits: _containers.RepeatedScalarFieldContainer[float]
    max: float
    min: float
    num: FloatSum
    squares: FloatSum
    sum: FloatSum
    def __init__(self, limits: _Optional[_Iterable[float]] = ..., counts: _Optional[_Union[ExactArray, _Mapping]] = ..., min: _Optional[float] = ..., max: _Optional[float] = ..., num: _Optional[_Union[FloatSum, _Mapping]] = ..., sum: _Optional[_Union[FloatSum, _Mapping]] = ..., squares: _Optional[_Union[FloatSum, _Mapping]] = ...) -> None: ...

class Rows(_message.Message):
    __slots__ = ["images", "kept", "labels", "logged", "matrix", "notes", "rank"]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LOGGED_FIELD_NUMBER: _ClassVar[int]
    MATRIX_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    images: bytes
    kept: int
    labels: bytes
    logged: int
    matrix: bytes
    notes: _containers.RepeatedScalarFieldContainer[str]
    rank: int
    def __init__(self, rank: _Optional[int] = ..., logged: _Optional[int] = ..., kept: _Optional[int] = ..., matrix: _Optional[bytes] = ..., labels: _Optional[bytes] = ..., images: _Optional[bytes] = ..., notes: _Optional[_Iterable[str]] = ...) -> None: ...

class Scalars(_message.Message):
    __slots__ = ["count", "last", "last_rank", "last_wall_time", "max", "max_rank", "min", "min_rank", "sum"]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    LAST_RANK_FIELD_NUMBER: _ClassVar[int]
    LAST_WALL_TIME_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    MAX_RANK_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MIN_RANK_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    count: int
    last: float
    last_rank: int
    last_wall_time: float
    max: float
    max_rank: int
    min: float
    min_rank: int
    sum: FloatSum
    def __init__(self, count: _Optional[int] = ..., sum: _Optional[_Union[FloatSum, _Mapping]] = ..., min: _Optional[float] = ..., min_rank: _Optional[int] = ..., max: _Optional[float] = ..., max_rank: _Optional[int] = ..., last_wall_time: _Optional[float] = ..., last_rank: _Optional[int] = ..., last: _Optional[float] = ...) -> None: ...

class Share(_message.Message):
    __slots__ = ["count", "curve", "edges_histogram", "embedding", "first", "grid_histogram", "images", "rank", "raw_histogram", "scalars"]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CURVE_FIELD_NUMBER: _ClassVar[int]
    EDGES_HISTOGRAM_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    GRID_HISTOGRAM_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    RAW_HISTOGRAM_FIELD_NUMBER: _ClassVar[int]
    SCALARS_FIELD_NUMBER: _ClassVar[int]
    count: int
    curve: Curve
    edges_histogram: EdgesHistogram
    embedding: Embedding
    first: First
    grid_histogram: GridHistogram
    images: Images
    rank: int
    raw_histogram: RawHistogram
    scalars: Scalars
    def __init__(self, rank: _Optional[int] = ..., count: _Optional[int] = ..., scalars: _Optional[_Union[Scalars, _Mapping]] = ..., edges_histogram: _Optional[_Union[EdgesHistogram, _Mapping]] = ..., grid_histogram: _Optional[_Union[GridHistogram, _Mapping]] = ..., raw_histogram: _Optional[_Union[RawHistogram, _Mapping]] = ..., curve: _Optional[_Union[Curve, _Mapping]] = ..., images: _Optional[_Union[Images, _Mapping]] = ..., embedding: _Optional[_Union[Embedding, _Mapping]] = ..., first: _Optional[_Union[First, _Mapping]] = ...) -> None: ...

class Tile(_message.Message):
    __slots__ = ["pad_value", "pixels", "rank"]
    PAD_VALUE_FIELD_NUMBER: _ClassVar[int]
    PIXELS_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    pad_value: int
    pixels: bytes
    rank: int
    def __init__(self, rank: _Optional[int] = ..., pixels: _Optional[bytes] = ..., pad_value: _Optional[int] = ...) -> None: ...
