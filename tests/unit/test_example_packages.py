"""What a page says is to be installed for the examples is all that they import."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.documents import ROOT, blocks, printed

EXAMPLES = ROOT / "examples"
INSTALL, INSTALL_WITH_TORCH = printed("docs/examples.md", "pip install").commands()
#: Distributions whose packages have other names, where they are not installed here.
DISTRIBUTIONS = {"boardd_client": ["boardd"], **metadata.packages_distributions()}


def imported(script: str) -> Iterator[str]:
    """The distributions that a script and the modules beside it import."""
    for node in ast.walk(ast.parse((EXAMPLES / f"{script}.py").read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in {each.partition(".")[0] for each in names} - sys.stdlib_module_names:
            if (EXAMPLES / f"{name}.py").exists():
                yield from imported(name)
            else:
                yield canonicalize_name(DISTRIBUTIONS.get(name, [name])[0])


def installed(command: str) -> set[str]:
    """The distributions that a command names, with those that the extras of boardd name."""
    words = re.split(r"\s+#", command)[0].replace("'", "").split()[2:]
    named = {canonicalize_name(word) for word in words if not word.startswith(".")}
    (extras,) = (set(re.findall(r"\w+", word)) for word in words if word.startswith("."))
    for requirement in map(Requirement, metadata.requires("boardd") or ()):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
            named.add(canonicalize_name(requirement.name))
    return {"boardd", *named}


def test_the_examples_import_what_is_installed_for_them() -> None:
    scripts = {
        script
        for block in blocks(ROOT / "docs/examples.md")
        for script in re.findall(r"^python examples/(\w+)\.py", block.text, re.MULTILINE)
    }
    assert "mnist" in scripts
    for script in scripts:
        has_torch = script == "torch_ddp"
        found = installed(INSTALL_WITH_TORCH if has_torch else INSTALL)
        assert set(imported(script)) <= found, script


def test_what_is_not_installed_is_seen() -> None:
    assert {"mxnet", "mlxtend", "boardd"} <= set(imported("embedding"))
    assert "torch" not in installed(INSTALL)
    assert "mxnet" not in installed(INSTALL_WITH_TORCH)
    assert {"mxnet", "scikit-learn", "pillow"} <= installed(INSTALL)
