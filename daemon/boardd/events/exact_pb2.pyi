from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Exact(_message.Message):
    __slots__ = ["scalar", "summary"]
    SCALAR_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    scalar: float
    summary: ExactSummary
    def __init__(self, scalar: _Optional[float] = ..., summary: _Optional[_Union[ExactSummary, _Mapping]] = ...) -> None: ...

class ExactSummary(_message.Message):
    __slots__ = ["partial", "tag"]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    partial: bytes
    tag: bytes
    def __init__(self, tag: _Optional[bytes] = ..., partial: _Optional[bytes] = ...) -> None: ...
