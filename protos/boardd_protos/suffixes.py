"""Suffixes of event files' names: which ones are taken.

Event files are never executable. But a program may load whatever in a directory of its own
ends in a certain type: a service manager its units, a desktop its autostart entries, an
interpreter its modules. A logdir may be such a directory, and what is logged holds text of the
user's. So no name of an event file ends in such a type.
"""

from __future__ import annotations

from typing import Final

from boardd_protos.tags import MAX_SUFFIX_BYTES

#: The types, without their dot.
LOADED_TYPES: Final = frozenset(
    (
        # units, drop-ins and settings of the system and its services
        *("service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer"),
        *("slice", "scope", "network", "netdev", "link", "nspawn", "dnssd", "conf", "cnf", "cfg"),
        *("ini", "rc", "rules", "pkla", "list", "sources", "repo", "profile", "json", "toml"),
        *("xml", "yaml", "yml"),
        # entries of a desktop
        *("desktop", "directory", "menu"),
        # what interpreters and shells load
        *("py", "pyc", "pyd", "pyi", "pyo", "pyw", "pth", "ipy", "ipynb", "egg-link"),
        *("sh", "bash", "zsh", "fish", "csh", "tcsh", "ksh", "command"),
        *("pl", "pm", "rb", "lua", "js", "mjs", "cjs", "node", "php", "r", "jl", "vim", "el"),
        # programs, libraries and packages
        *("so", "o", "a", "ko", "dll", "dylib", "exe", "com", "bat", "cmd", "ps1", "psm1", "vbs"),
        *("jar", "msi", "appimage", "run", "bin", "deb", "rpm", "whl"),
    )
)


def is_loaded(name: str) -> bool:
    """Whether other programs load files whose name ends in ``name``."""
    _, dot, file_type = name.rpartition(".")
    return bool(dot) and file_type.strip().lower() in LOADED_TYPES


def suffix_obstacle(suffix: str) -> str:
    """Why ``suffix`` may not end the names of event files; empty if it may."""
    shown = repr(suffix[:80])
    if len(suffix.encode(errors="surrogatepass")) > MAX_SUFFIX_BYTES:
        return f"filename_suffix {shown}: expected up to {MAX_SUFFIX_BYTES} bytes"
    if "/" in suffix or not suffix.isprintable():
        return f"filename_suffix {shown}: expected printable characters other than '/'"
    if is_loaded(suffix):
        file_type = suffix.rpartition(".")[2]
        return (
            f"filename_suffix {shown}: other programs load files of the type "
            f"'.{file_type}'; leave out the dot, or choose another, such as '_{file_type}'"
        )
    return ""
