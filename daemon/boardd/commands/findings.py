"""What a check has found and what is to be done about it, as text for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from boardd_protos.printable import printable

from boardd.errors import ExitCode


class Grade(Enum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"  #: it works, less well or not for long
    FAIL = "fail"  #: what is logged is not written


class Finding(NamedTuple):
    """One line of ``boardd doctor``; ``cure`` is what to do, empty if that is nothing."""

    grade: Grade
    subject: str
    text: str
    cure: str = ""


def ok(subject: str, text: str) -> Finding:
    """All is well."""
    return Finding(Grade.OK, subject, text)


def warn(subject: str, text: str, cure: str) -> Finding:
    """It works, less well or not for long."""
    return Finding(Grade.WARN, subject, text, cure)


def fail(subject: str, text: str, cure: str) -> Finding:
    """What is logged is not written."""
    return Finding(Grade.FAIL, subject, text, cure)


def render(findings: Sequence[Finding]) -> str:
    """Returns a line for each finding, its cure beneath it, and a last line that sums up."""
    width = max((len(one.subject) for one in findings), default=0)
    lines = []
    for one in findings:
        lines.append(f"{one.grade.value:<4}  {one.subject:<{width}}  {one.text}")
        if one.cure:
            lines.append(f"{'':<4}  {'':<{width}}  -> {one.cure}")
    counts = {grade: sum(one.grade is grade for one in findings) for grade in Grade}
    lines += ["", ", ".join(f"{count} {grade.value}" for grade, count in counts.items())]
    # Names and messages come from clients.
    return "\n".join(map(printable, lines))


def to_json(findings: Sequence[Finding]) -> str:
    """Returns ``{"ok": …, "findings": [{"grade", "subject", "text", "cure"}, …]}``."""
    plain = [{**one._asdict(), "grade": one.grade.value} for one in findings]
    is_ok = exit_code(findings) is ExitCode.OK
    return json.dumps({"ok": is_ok, "findings": plain}, indent=2, ensure_ascii=False)


def exit_code(findings: Sequence[Finding]) -> ExitCode:
    """FAILED if anything failed, else OK."""
    return ExitCode.FAILED if any(one.grade is Grade.FAIL for one in findings) else ExitCode.OK
