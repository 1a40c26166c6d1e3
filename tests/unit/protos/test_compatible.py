"""What the previous minor version sends and writes means the same in this one."""

from __future__ import annotations

import ast
import importlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

(WHEEL,) = (Path(__file__).resolve().parents[2] / "previous").glob("*.whl")
GENERATED = "_pb2.py"

with zipfile.ZipFile(WHEEL) as archive:
    PREVIOUS = {
        name.removesuffix(".py").replace("/", "."): archive.read(name).decode()
        for name in archive.namelist()
        if name.endswith(GENERATED)
    }


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


def kind(field: FieldDescriptorProto) -> tuple[object, ...]:
    return field.name, field.type, field.type_name, field.label, field.proto3_optional


def is_reserved(number: int, message: DescriptorProto) -> bool:
    return any(number in range(one.start, one.end) for one in message.reserved_range)


def broken(before: FileDescriptorProto, after: FileDescriptorProto) -> list[str]:
    """What the rules of docs/versions.md do not allow."""
    found = []
    present = dict(messages(after))
    for name, message in messages(before):
        if name not in present:
            continue  # a field that had it is reserved, or is another field, which is seen below
        fields = {field.number: field for field in present[name].field}
        for field in message.field:
            if field.number not in fields:
                if not is_reserved(field.number, present[name]):
                    found.append(f"{name}.{field.name} is gone, and not reserved")
            elif kind(field) != kind(fields[field.number]):
                found.append(f"{name}.{field.name} is another field")
        for reserved in message.reserved_range:
            found += [
                f"{name}.{fields[number].name} has a reserved number"
                for number in range(reserved.start, reserved.end)
                if number in fields
            ]
    enums = {enum.name: enum for enum in after.enum_type}
    for enum in before.enum_type:
        values = {value.number: value.name for value in enums[enum.name].value}
        found += [
            f"{enum.name}.{value.name} is another value"
            for value in enum.value
            if values.get(value.number) != value.name
        ]
    return found


@pytest.mark.parametrize("module", PREVIOUS)
def test_no_field_or_value_is_another_than_before(module: str) -> None:
    after = FileDescriptorProto()
    importlib.import_module(module).DESCRIPTOR.CopyToProto(after)
    assert broken(described(PREVIOUS[module]), after) == []


def test_what_breaks_the_rules_is_seen() -> None:
    before = described(PREVIOUS["boardd_protos.boardd_pb2"])
    after = FileDescriptorProto()
    after.CopyFrom(before)
    found = dict(messages(after))
    found["OpenRequest"].field[0].number = 100
    found["OpenReply"].field[0].type = FieldDescriptorProto.TYPE_STRING
    found["OpenReply"].field[1].number = 3  # which is reserved
    after.enum_type[0].value[1].name = "OTHER"
    assert broken(before, after) == [
        "OpenRequest.min_protocol_version is gone, and not reserved",
        "OpenReply.protocol_version is another field",
        "OpenReply.daemon_version is gone, and not reserved",
        "OpenReply.daemon_version has a reserved number",
        "Reason.PROTOCOL_VERSION is another value",
    ]
