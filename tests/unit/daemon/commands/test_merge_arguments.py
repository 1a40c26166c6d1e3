"""``boardd merge`` reads and writes local directories, and says so of a URL."""

from __future__ import annotations

from pathlib import Path

import pytest
from boardd.commands import merge
from boardd.errors import ConfigError


@pytest.mark.parametrize(
    "arguments",
    [["s3://bucket/runs", "--out", "merged"], ["runs", "--out", "s3:/bucket/merged"]],
)
def test_a_url_is_refused(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="s3:"):
        merge.run(arguments, {})
    assert not list(tmp_path.iterdir())
