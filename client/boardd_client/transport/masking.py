"""A command without the secrets in it: values of what is named for a secret, and tokens.

A name is taken apart into words, and some of these stand for secrets: ``--hf-token`` and
``apiKey`` do, ``--tokenizer`` and ``--max-tokens`` do not. If in doubt, the value is hidden.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

#: Characters of a command that are shown.
MAX_COMMAND: Final = 4096

_MASK: Final = "***"

#: In ``HF_TOKEN2``, ``apiKey`` and ``--api-key``: HF, TOKEN; api, Key; api, key.
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET_WORD: Final = re.compile(
    r"key|pass|pwd|pw|pat|creds?|auth|oauth|authorization|authentication|bearer|cookies?"
    r"|[a-z]*(?:token|apikey|accesskey|privatekey|secretkey|authkey|pwd)"
    r"|[a-z]*(?:password|passwd|passphrase|passcode|secret|credential)s?"
)
#: Secrets after one of ``_QUALIFIERS`` alone: there are keys and tokens of other kinds.
_SECRET_PLURAL: Final = re.compile(r"keys|tokens")
_QUALIFIERS: Final = frozenset(
    {"access", "api", "auth", "bearer", "private", "refresh", "secret", "session", "ssh"}
)
#: What begins the names of switches, which have no value.
_NEGATIONS: Final = frozenset({"no", "disable", "skip", "without"})
#: In front of and behind a word for a secret, these make it one for something else.
_HARMLESS_BEFORE: Final = frozenset(
    {"bos", "cls", "eos", "mask", "max", "min", "num", "pad", "per", "sep", "sort", "unk"}
)
_HARMLESS_AFTER: Final = frozenset({"dim", "length", "rate", "size"})

#: An argument that is a name and a value: ``--token=x``, ``MY_SECRET=x``, ``+aws.key=x``.
_ASSIGNMENT: Final = re.compile(r"[-+~]*([\w.\-]+)=")
_OPTION: Final = re.compile(r"-[\w.\-]+")
#: A name within an argument, with what separates it from its value: ``--token ``, ``token=``,
#: ``"token": ``, ``["token"] = ``. The colon of a URL's scheme is none.
_NAME: Final = re.compile(
    r"""(?<![\w.\-])(?:(-[\w.\-]+)\s+|([\w.\-]+)[\\"'\])]*\s*(?:=|:(?!//))\s*)"""
)
#: The value behind it goes up to the next name or option, or to the end.
_VALUE: Final = re.compile(
    r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|.)?.*?"""
    r"""(?=[,;&\s](?![,;&\s])[{\[(\\"'\-]*[\w.\-]+[\\"'\])]*\s*(?:=|:(?!//))|\s--?[a-zA-Z]|\Z)""",
    re.DOTALL,
)
#: ``user:password@`` in a URL. A password may have any character; what follows a port has not.
_USER: Final = re.compile(r"(?<=://)(?:[^/?#\s]*@|[^/?#\s:@]+:(?!\d+(?:[/?#\s]|\Z))\S*@)")
#: Tokens as services hand them out, and what a header says of one.
_TOKEN: Final = re.compile(
    r"\b(?:hf_|gh[pousr]_|github_pat_|glpat-|sk-|xox[a-z]-|AKIA|eyJ)[\w.\-]{12,}"
    r"|(?<=(?i:bearer) )\S+"
)


def masked(argv: Sequence[str]) -> list[str]:
    """Returns ``argv`` with ``***`` instead of secrets, each argument cut to a bounded length."""
    shown = []
    is_secret = False
    for whole in argv:
        argument = whole[: 2 * MAX_COMMAND]
        shown.append(_MASK if is_secret else _masked(argument))
        # Also if it was hidden: what looks like an option may be one.
        is_secret = bool(_OPTION.fullmatch(argument)) and _is_secret(argument)
    return shown


def _masked(argument: str) -> str:
    assignment = _ASSIGNMENT.match(argument)
    if assignment is not None and _is_secret(assignment[1]):
        return assignment[0] + _MASK
    return _TOKEN.sub(_MASK, _USER.sub(_MASK, _masked_values(argument)))


def _masked_values(text: str) -> str:
    """``text`` without the values behind names of secrets in it."""
    pieces = []
    end = 0
    while (name := _NAME.search(text, end)) is not None:
        pieces.append(text[end : name.end()])
        end = name.end()
        if _is_secret(name[1] or name[2]):
            value = _VALUE.match(text, end)
            end = len(text) if value is None else value.end()
            pieces.append(_MASK)
    return "".join([*pieces, text[end:]])


def _is_secret(name: str) -> bool:
    return any(_has_secret_word(part) for part in name.split("."))


def _has_secret_word(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    if words and words[0] in _NEGATIONS:
        return False
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        if before in _HARMLESS_BEFORE or after in _HARMLESS_AFTER:
            continue
        is_plural = before in _QUALIFIERS and _SECRET_PLURAL.fullmatch(word)
        if is_plural or _SECRET_WORD.fullmatch(word):
            return True
    return False
