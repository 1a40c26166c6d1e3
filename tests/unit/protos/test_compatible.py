"""What the previous minor version sends and writes means the same in this one."""

from __future__ import annotations

import ast
import enum
import importlib
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from boardd_protos import MAX_PROTOCOL_VERSION, MIN_PROTOCOL_VERSION
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

(WHEEL,) = (Path(__file__).resolve().parents[2] / "previous").glob("*.whl")
#: Whose constants say what lies where in frames, in messages and in memory that is shared.
LAYOUTS = ("frame", "shared", "log_file")

with zipfile.ZipFile(WHEEL) as archive:
    SOURCES = {
        name.removesuffix(".py").replace("/", "."): archive.read(name).decode()
        for name in archive.namelist()
        if name.endswith(".py")
    }
PREVIOUS = {name: source for name, source in SOURCES.items() if name.endswith("_pb2")}


def described(generated: str) -> FileDescriptorProto:
    """The .proto file that generated code holds; one of its name is imported already."""
    literals = (
        node.value
        for node in ast.walk(ast.parse(generated))
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes)
    )
    return FileDescriptorProto.FromString(max(literals, key=len))


def messages(
    file: FileDescriptorProto | DescriptorProto, prefix: str = ""
) -> Iterator[tuple[str, DescriptorProto]]:
    nested = file.message_type if isinstance(file, FileDescriptorProto) else file.nested_type
    for message in nested:
        yield prefix + message.name, message
        yield from messages(message, f"{prefix}{message.name}.")


def kind(field: FieldDescriptorProto, message: DescriptorProto) -> tuple[object, ...]:
    oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
    return field.name, field.type, field.type_name, field.label, field.proto3_optional, oneof


def is_reserved(number: int, message: DescriptorProto) -> bool:
    return any(number in range(one.start, one.end) for one in message.reserved_range)


def broken(before: FileDescriptorProto, after: FileDescriptorProto) -> list[str]:
    """What the rules of docs/versions.md do not allow."""
    found = []
    present = dict(messages(after))
    for name, message in messages(before):
        # What had one that is gone is a field that is reserved, or changed, or a method.
        if name in present:
            found += [f"{name}.{text}" for text in broken_fields(message, present[name])]
    enums = {one.name: one for one in after.enum_type}
    for one in before.enum_type:
        values = {value.number: value.name for value in enums[one.name].value}
        found += [
            f"{one.name}.{value.name} is another value"
            for value in one.value
            if values.get(value.number) != value.name
        ]
    present_methods = dict(methods(after))
    found += [
        f"{name} is another method, or gone"
        for name, method in methods(before)
        if present_methods.get(name) != method
    ]
    return found


def broken_fields(before: DescriptorProto, after: DescriptorProto) -> Iterator[str]:
    fields = {field.number: field for field in after.field}
    for field in before.field:
        if field.number not in fields:
            if not is_reserved(field.number, after):
                yield f"{field.name} is gone, and not reserved"
        elif kind(field, before) != kind(fields[field.number], after):
            yield f"{field.name} is another field"
    for reserved in before.reserved_range:
        for number in range(reserved.start, reserved.end):
            if number in fields:
                yield f"{fields[number].name} has a reserved number"
            elif not is_reserved(number, after):
                yield f"{number} is not reserved any more"


def methods(file: FileDescriptorProto) -> Iterator[tuple[str, tuple[object, ...]]]:
    for service in file.service:
        for method in service.method:
            streams = method.client_streaming, method.server_streaming
            yield f"{service.name}.{method.name}", (method.input_type, method.output_type, *streams)


def constants(source: str) -> dict[str, object]:
    """The constants of a module that imports nothing of boardd's, in a form that compares."""
    module = ModuleType("previous")
    exec(source, vars(module))
    return comparable(vars(module))


def comparable(names: Mapping[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in names.items():
        if isinstance(value, struct.Struct):
            found[name] = value.format
        elif isinstance(value, enum.EnumMeta):
            found[name] = {member: value[member].value for member in value.__members__}
        elif isinstance(value, int | float | bytes | tuple | np.dtype):
            found[name] = value
    return found


def changed(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Which of ``before`` are others ``after``; an enum may have more members."""
    found = []
    for name, value in before.items():
        now = after.get(name)
        if isinstance(value, dict) and isinstance(now, dict):
            now = {member: now.get(member) for member in value}
        if now != value:
            found.append(f"{name} is {now}, and was {value}")
    return found


@pytest.mark.parametrize("module", PREVIOUS)
def test_no_field_value_or_method_is_another_than_before(module: str) -> None:
    after = FileDescriptorProto()
    importlib.import_module(module).DESCRIPTOR.CopyToProto(after)
    assert broken(described(PREVIOUS[module]), after) == []


@pytest.mark.parametrize("module", LAYOUTS)
def test_all_lies_where_it_did(module: str) -> None:
    before = constants(SOURCES[f"boardd_protos.{module}"])
    assert len(before) > 5
    after = vars(importlib.import_module(f"boardd_protos.{module}"))
    assert changed(before, comparable(after)) == []


def test_both_ends_still_speak_the_version_of_the_protocol_before() -> None:
    before = constants(SOURCES["boardd_protos.__init__"])["MAX_PROTOCOL_VERSION"]
    assert isinstance(before, int)
    assert MIN_PROTOCOL_VERSION <= before <= MAX_PROTOCOL_VERSION


def test_what_breaks_the_rules_is_seen() -> None:
    before = described(PREVIOUS["boardd_protos.boardd_pb2"])
    after = FileDescriptorProto()
    after.CopyFrom(before)
    found = dict(messages(after))
    found["OpenRequest"].field[0].number = 100
    found["OpenReply"].field[0].type = FieldDescriptorProto.TYPE_STRING
    found["OpenReply"].field[1].number = 3  # which is reserved
    del found["Definitions"].reserved_range[:]
    found["ClientMessage"].field[0].ClearField("oneof_index")
    after.enum_type[0].value[1].name = "OTHER"
    after.service[0].method[0].client_streaming = True
    (removed,) = [at for at, one in enumerate(after.message_type) if one.name == "StatusRequest"]
    del after.message_type[removed]
    (status,) = [one for one in after.service[0].method if one.name == "Status"]
    status.input_type = ".boardd.v1.FlushRequest"
    assert broken(before, after) == [
        "OpenRequest.min_protocol_version is gone, and not reserved",
        "OpenReply.protocol_version is another field",
        "OpenReply.daemon_version is gone, and not reserved",
        "OpenReply.daemon_version has a reserved number",
        "ClientMessage.attach is another field",
        "Definitions.3 is not reserved any more",
        "Reason.PROTOCOL_VERSION is another value",
        "Boardd.Open is another method, or gone",
        "Boardd.Status is another method, or gone",
    ]


def test_what_lies_elsewhere_is_seen() -> None:
    source = SOURCES["boardd_protos.frame"]
    before = constants(source)
    for old, new, name in (
        ("ABORTED = 4", "ABORTED = 5", "FrameKind"),
        ('Struct("<IBBHQqdIId")', 'Struct("<IBBHqQdIId")', "HEADER"),
        ("24, 32, 36, 40]", "32, 24, 36, 40]", "FRAME_DTYPE"),
        ("CLAIMED: Final = 1", "CLAIMED: Final = 4", "CLAIMED"),
    ):
        assert old in source
        (found,) = changed(before, constants(source.replace(old, new)))
        assert found.startswith(f"{name} is ")
