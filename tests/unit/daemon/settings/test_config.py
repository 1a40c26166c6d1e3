"""Settings: one table, four sources, and what is said about a wrong one."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest
from boardd.core.budget import Budgets
from boardd.core.sync_policy import NEVER, SyncPolicy
from boardd.errors import ConfigError, ExitCode
from boardd.settings.arguments import argument_parser
from boardd.settings.config import AUTOSTARTED_IDLE_SECS, OPTIONS, Config
from boardd.settings.option import Option, format_size, parse_size
from boardd.settings.report import render, to_json
from boardd.settings.sources import load, read
from boardd_protos.address import TcpAddress, default_address

#: For each option: a text that a flag and a variable take, the same for TOML, and the value.
SAMPLES: dict[str, tuple[str, str, object]] = {
    "socket": ("/tmp/d/s.sock", '"/tmp/d/s.sock"', Path("/tmp/d/s.sock")),
    "listen": ("127.0.0.1:0", '"127.0.0.1:0"', TcpAddress("127.0.0.1", 0)),
    "logdir-root": ("/tmp", '["/tmp"]', (Path("/tmp"),)),
    "sync": ("12", "12", SyncPolicy(12.0)),
    "spool-dir": ("/tmp/spool", '"/tmp/spool"', Path("/tmp/spool")),
    "spool-bytes": ("3GiB", '"3GiB"', 3 << 30),
    "ship-secs": ("9.5", "9.5", 9.5),
    "idle-exit": ("2.5", "2.5", 2.5),
    "drain-secs": ("7", "7", 7.0),
    "lease-secs": ("8", "8", 8.0),
    "threads": ("3", "3", 3),
    "writers": ("5", "5", 5),
    "nice": ("4", "4", 4),
    "memory-bytes": ("1GiB", '"1GiB"', 1 << 30),
    "intake-bytes": ("64MiB", '"64MiB"', 64 << 20),
    "session-intake-bytes": ("32MiB", '"32MiB"', 32 << 20),
    "max-tensor-bytes": ("1GiB", "1073741824", 1 << 30),
    "reduction-bytes": ("3GiB", '"3GiB"', 3 << 30),
    "max-map-bytes": ("3GiB", '"3GiB"', 3 << 30),
    "max-definition-bytes": ("3GiB", '"3GiB"', 3 << 30),
    "max-message-bytes": ("8MiB", '"8MiB"', 8 << 20),
    "max-sessions": ("11", "11", 11),
    "max-runs": ("12", "12", 12),
    "max-series-per-run": ("13", "13", 13),
    "max-series-per-session": ("14", "14", 14),
    "stall-secs": ("15", "15", 15.0),
    "join-secs": ("16", "16", 16.0),
    "lag-points": ("17", "17", 17),
    "lag-secs": ("18", "18", 18.0),
    "host-secs": ("118", "118", 118.0),
    "max-open-bytes": ("19MiB", '"19MiB"', 19 << 20),
    "token-file": ("/tmp/token", '"/tmp/token"', Path("/tmp/token")),
    "tls-cert": ("/tmp/cert", '"/tmp/cert"', Path("/tmp/cert")),
    "tls-key": ("/tmp/key", '"/tmp/key"', Path("/tmp/key")),
    "tls-client-ca": ("/tmp/ca", '"/tmp/ca"', Path("/tmp/ca")),
    "forward-to": ("logs:6020", '"logs:6020"', TcpAddress("logs", 6020)),
    "max-forward-bytes": ("20MiB", '"20MiB"', 20 << 20),
    "forward-ca": ("/tmp/ca", '"/tmp/ca"', Path("/tmp/ca")),
    "forward-cert": ("/tmp/cert", '"/tmp/cert"', Path("/tmp/cert")),
    "forward-key": ("/tmp/key", '"/tmp/key"', Path("/tmp/key")),
    "forward-token-file": ("/tmp/token", '"/tmp/token"', Path("/tmp/token")),
    "metrics": ("127.0.0.1:9", '"127.0.0.1:9"', TcpAddress("127.0.0.1", 9)),
    "log-format": ("json", '"json"', "json"),
    "log-level": ("debug", '"debug"', "debug"),
}

#: What must be given along with an option so that the whole is valid.
PARTNERS = {
    "tls-cert": [("tls-key", "/tmp/other")],
    "tls-key": [("tls-cert", "/tmp/other")],
    "tls-client-ca": [("tls-cert", "/tmp/other"), ("tls-key", "/tmp/other")],
    "forward-ca": [("forward-to", "logs:6020")],
    "forward-token-file": [("forward-to", "logs:6020")],
    "forward-cert": [
        *(("forward-to", "logs:6020"), ("forward-ca", "/tmp/ca"), ("forward-key", "/tmp/other"))
    ],
    "forward-key": [
        *(("forward-to", "logs:6020"), ("forward-ca", "/tmp/ca"), ("forward-cert", "/tmp/other"))
    ],
}

#: Options that are not read from a file.
FLAG_ONLY = {"config", "autostarted"}

BY_NAME = {option.name: option for option in OPTIONS}


def test_table_and_samples_cover_every_field_and_budget() -> None:
    assert set(SAMPLES) | FLAG_ONLY == set(BY_NAME)
    assert [option.field for option in OPTIONS] == [
        item.name for item in dataclasses.fields(Config) if item.name != "are_roots_given"
    ]
    assert {option.name for option in OPTIONS if not option.in_file} == FLAG_ONLY
    budgets = {item.name: getattr(Budgets(), item.name) for item in dataclasses.fields(Budgets)}
    assert {name: getattr(Config(), name) for name in budgets} == budgets
    assert Config().budgets == Budgets()


def test_options_that_are_given_reach_the_budgets(tmp_path: Path) -> None:
    flags = ["--max-runs", "3", "--threads", "2", "--intake-bytes", "9MB"]
    config = load([*flags, "--memory-bytes", "2GiB"], {})
    assert config.budgets == Budgets(max_runs=3, reducers=2, intake_bytes=9_000_000)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_option_has_a_flag_a_variable_and_a_key(name: str, tmp_path: Path) -> None:
    text, toml, value = SAMPLES[name]
    option = BY_NAME[name]
    default = getattr(Config(), option.field)
    assert value != default, "a sample that equals the default shows nothing"

    partners = PARTNERS.get(name, [])
    flags = [part for partner, other in partners for part in (f"--{partner}", other)]
    assert getattr(load([option.flag, text, *flags], {}), option.field) == value

    environ = {option.variable: text}
    for partner, other in partners:
        environ[BY_NAME[partner].variable] = other
    assert getattr(load([], environ), option.field) == value

    file = tmp_path / "boardd.toml"
    lines = [f"{name} = {toml}", *(f'{partner} = "{other}"' for partner, other in partners)]
    file.write_text("\n".join(lines))
    assert getattr(load(["--config", str(file)], {}), option.field) == value
    assert getattr(load([], {"BOARDD_CONFIG": str(file)}), option.field) == value


def test_sync_has_words_and_seconds() -> None:
    assert load(["--sync", "never"], {}).sync == NEVER
    assert load(["--sync", "flush"], {}).sync == SyncPolicy(on_flush=True)
    assert load([], {"BOARDD_SYNC": "0.5"}).sync == SyncPolicy(0.5)
    for text in ("0", "-1", "inf", "always", ""):
        with pytest.raises(ConfigError, match="--sync"):
            load(["--sync", text], {})


def test_flag_overrides_variable_overrides_file_overrides_default(tmp_path: Path) -> None:
    file = tmp_path / "boardd.toml"
    file.write_text("threads = 5\nnice = 5\nwriters = 5\n")
    environ = {"BOARDD_THREADS": "6", "BOARDD_NICE": "6", "BOARDD_CONFIG": str(file)}
    config = load(["--threads", "7"], environ)
    assert (config.reducers, config.nice, config.writers) == (7, 6, 5)
    assert config.max_runs == Budgets().max_runs


def test_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load([], {})
    assert config.socket == default_address().path
    assert config.logdir_roots == (tmp_path,)
    assert config.listen is None
    assert config.nice == 10
    assert config.drain_secs == 30
    assert config.idle_exit_secs == 0


def test_empty_variables_count_as_unset() -> None:
    assert load([], {option.variable: "" for option in OPTIONS}) == load([], {})


def test_roots_repeat_in_every_source(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    both = (tmp_path / "a", tmp_path / "b")
    flags = [part for root in both for part in ("--logdir-root", str(root))]
    assert load(flags, {}).logdir_roots == both
    assert load([], {"BOARDD_LOGDIR_ROOT": os.pathsep.join(map(str, both))}).logdir_roots == both
    file = tmp_path / "boardd.toml"
    file.write_text('logdir-root = ["a", "b"]')
    assert load(["--config", str(file)], {}).logdir_roots == both
    file.write_text('logdir-root = "a"')
    assert load(["--config", str(file)], {}).logdir_roots == both[:1]


def test_relative_paths_start_at_the_source_of_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings").mkdir()
    file = tmp_path / "settings" / "boardd.toml"
    file.write_text('token-file = "token"')
    monkeypatch.chdir(tmp_path)
    assert load(["--config", "settings/boardd.toml"], {}).token_file == file.with_name("token")
    assert load(["--token-file", "token"], {}).token_file == tmp_path / "token"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load([], {"BOARDD_TOKEN_FILE": "~/token"}).token_file == tmp_path / "token"


def test_autostarted_daemon_leaves_when_idle_unless_told_otherwise() -> None:
    assert load(["--autostarted"], {}).idle_exit_secs == AUTOSTARTED_IDLE_SECS
    assert load(["--autostarted", "--idle-exit", "9"], {}).idle_exit_secs == 9
    assert load(["--autostarted", "--idle-exit", "0"], {}).idle_exit_secs == 0
    assert load([], {"BOARDD_AUTOSTARTED": "true"}).autostarted


def test_it_is_known_whether_somebody_said_where_to_write(tmp_path: Path) -> None:
    file = tmp_path / "boardd.toml"
    file.write_text('logdir-root = "."')
    assert not load(["--nice", "3"], {}).are_roots_given
    assert load(["--logdir-root", "/"], {}).are_roots_given
    assert load([], {"BOARDD_LOGDIR_ROOT": "/"}).are_roots_given
    assert load(["--config", str(file)], {}).are_roots_given


def test_a_misspelt_variable_is_told_with_what_it_may_mean(
    caplog: pytest.LogCaptureFixture,
) -> None:
    load([], {"BOARDD_LOGDIR_ROTO": "/", "BOARDD_AUTOSTART": "0", "BOARDD_OF_OTHERS": "1"})
    assert caplog.messages == ["ignoring BOARDD_LOGDIR_ROTO: did you mean BOARDD_LOGDIR_ROOT?"]


def test_an_autostarted_daemon_never_listens_on_tcp(tmp_path: Path) -> None:
    file = tmp_path / "boardd.toml"
    file.write_text('listen = "127.0.0.1:0"')
    environ = {"BOARDD_LISTEN": "0.0.0.0:7654", "BOARDD_TOKEN_FILE": "/token"}
    for settings in (environ, {"BOARDD_CONFIG": str(file)}):
        assert load([], settings).listen is not None
        assert load(["--autostarted"], settings).listen is None


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        (["--threads", "0"], {}, r"--threads: '0': expected a whole number from 1 to"),
        (["--threads", "x"], {}, r"--threads: 'x': expected a whole number"),
        ([], {"BOARDD_NICE": "20"}, r"BOARDD_NICE: '20': expected a whole number from 0 to 19"),
        ([], {"BOARDD_NICE": "-1"}, r"BOARDD_NICE: '-1'"),
        (["--intake-bytes", "12 apples"], {}, r"--intake-bytes: '12 apples': expected a size"),
        (["--intake-bytes", "0"], {}, r"--intake-bytes: '0': expected a size"),
        (["--max-message-bytes", "1GiB"], {}, r"'1GiB': expected a size from 2MiB to 64MiB"),
        (["--drain-secs", "-1"], {}, r"--drain-secs: '-1': expected a number of seconds, 0 or"),
        (["--drain-secs", "inf"], {}, r"--drain-secs: 'inf'"),
        (["--drain-secs", "nan"], {}, r"--drain-secs: 'nan'"),
        (["--lease-secs", "0"], {}, r"--lease-secs: '0': expected a number of seconds above 0"),
        (["--listen", "nonsense"], {}, r"--listen: .*'nonsense'.*host:port"),
        (["--listen", "unix:/tmp/x"], {}, r"--listen: 'unix:/tmp/x': expected HOST:PORT"),
        (["--listen", "127.0.0.1:70000"], {}, r"--listen: .*70000"),
        (["--socket", "/tmp/" + "x" * 120], {}, r"--socket: .*at most 107 bytes"),
        (["--log-level", "loud"], {}, r"--log-level: 'loud': expected one of debug, info"),
        ([], {"BOARDD_AUTOSTARTED": "maybe"}, r"BOARDD_AUTOSTARTED: 'maybe': expected true or"),
        (["--logdir-root", "/nonexistent"], {}, r"logdir root /nonexistent is not a directory"),
        ([], {"BOARDD_LOGDIR_ROOT": ":"}, r"BOARDD_LOGDIR_ROOT: expected at least one"),
        (["--config", "/nonexistent"], {}, r"--config /nonexistent: No such file"),
        (["--tls-cert", "/tmp/c"], {}, r"--tls-cert and --tls-key must be given together"),
        (["--host-secs", "29"], {}, r"--host-secs 29: .*at least 30"),
        (["--forward-to", "logs:0"], {}, r"--forward-to logs:0: name the port"),
        (["--forward-ca", "/tmp/c"], {}, r"--forward-ca and --forward-token-file need --forward"),
        (["--listen", "0.0.0.0:7000"], {}, r"--listen 0.0.0.0:7000: other hosts.*--token-file"),
        (["--listen", "example.org:0"], {}, r"other hosts"),
        (["--thread", "1"], {}, r"unrecognized arguments: --thread.*boardd --help"),
        (["--threads"], {}, r"argument --threads: expected one argument"),
        (["extra"], {}, r"unrecognized arguments: extra"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(
    arguments: list[str], environ: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(arguments, environ)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("treads = 3", r"unknown setting 'treads'; did you mean 'threads'\?"),
        ("intake_bytes = 3", r"unknown setting 'intake_bytes'; did you mean 'intake-bytes'\?"),
        ("zzz = 3", r"unknown setting 'zzz'; see boardd --help"),
        ("[table]\nthreads = 3", r"unknown setting 'table'"),
        ('config = "x"', r"unknown setting 'config'"),
        ("autostarted = true", r"unknown setting 'autostarted'"),
        ('threads = "3"', r"threads: '3' is a str, expected int"),
        ("threads = true", r"threads: True is a bool, expected int"),
        ("threads = 1.5", r"threads: 1.5 is a float, expected int"),
        ("threads = [1]", r"threads: \[1\] is a list, expected int"),
        ("threads = 0", r"threads: '0': expected a whole number"),
        ("logdir-root = [1]", r"logdir-root: 1 is a int, expected str"),
        ("logdir-root = []", r"logdir-root: expected at least one value"),
        ("drain-secs = nan", r"drain-secs: 'nan'"),
        ("threads = ", r"not valid TOML"),
    ],
)
def test_wrong_files_are_refused_with_file_and_key(
    content: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "boardd.toml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=re.escape(str(file)) + ".*" + message):
        load(["--config", str(file)], {})


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "boardd.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(["--config", str(file)], {})


@pytest.mark.parametrize("where", ["127.0.0.1:0", "localhost:7000", "[::1]:7000", "127.1.2.3:1"])
def test_loopback_needs_neither_token_nor_tls(where: str) -> None:
    assert load(["--listen", where], {}).listen is not None


@pytest.mark.parametrize(
    "flags",
    [["--token-file", "/tmp/t"], ["--tls-cert", "/tmp/c", "--tls-key", "/tmp/k"]],
)
def test_other_hosts_may_be_served_with_token_or_tls(flags: list[str]) -> None:
    assert load(["--listen", "0.0.0.0:7000", *flags], {}).listen == TcpAddress("0.0.0.0", 7000)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("1", 1),
        ("65536", 65536),
        ("10B", 10),
        ("1K", 1000),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("512MiB", 512 << 20),
        ("512 MiB", 512 << 20),
        ("2gib", 2 << 30),
        ("3GB", 3_000_000_000),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes
    assert parse_size(format_size(size_bytes)) == size_bytes


@pytest.mark.parametrize("text", ["", "MiB", "1.5GiB", "-1", "1 2", "1PiB", "1Mi B", "0MiB"])
def test_texts_that_are_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        parse_size(text)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_help_explains_every_option_with_its_default(option: Option) -> None:
    text = " ".join(argument_parser().format_help().split())
    start = text.index(
        f" {option.flag} {option.kind.metavar}".rstrip() + " ", text.index("options:")
    )
    entry = text[start : text.index("(default: ", start)]
    assert len(entry) > len(option.flag) + 20
    assert not re.search(r" --(?!token-file|tls-)[a-z-]+ [A-Z]", entry[len(option.flag) + 2 :])


def test_help_prints_and_leaves(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load(["--help"], {})
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for phrase in (
        "boardd status",
        "boardd stop",
        "examples:",
        "exit codes:",
        "BOARDD_LOGDIR_ROOT",
    ):
        assert phrase in text


def user_file(home: Path, content: str) -> Path:
    """The settings file that is found without being named, for the environment ``HOME``."""
    path = home / ".config" / "boardd" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_the_users_file_is_found_and_a_named_one_counts_instead(tmp_path: Path) -> None:
    user_file(tmp_path, "nice = 3\nwriters = 3\n")
    other = user_file(tmp_path / "xdg", "nice = 4\n")
    home = {"HOME": str(tmp_path)}
    config_home = {**home, "XDG_CONFIG_HOME": str(tmp_path / "xdg" / ".config")}
    assert load([], home).nice == 3
    assert load([], {**home, "XDG_CONFIG_HOME": "relative"}).nice == 3
    assert load([], config_home).nice == 4
    assert load(["--nice", "5"], home).nice == load([], {**home, "BOARDD_NICE": "5"}).nice == 5
    # One file is read, never two together.
    named = load(["--config", str(other)], home)
    assert (named.nice, named.writers) == (4, Budgets().writers)
    assert load(["--config", os.devnull], home).nice == Config().nice
    assert load([], {}).nice == load([], {"HOME": str(other)}).nice == Config().nice


def test_the_users_file_cannot_move_the_socket_away_from_clients(tmp_path: Path) -> None:
    file = user_file(tmp_path, 'socket = "/tmp/elsewhere"\n')
    with pytest.raises(ConfigError, match=f"{file}: socket: clients do not read this file"):
        load([], {"HOME": str(tmp_path)})
    assert load(["--config", str(file)], {}).socket == Path("/tmp/elsewhere")


@pytest.mark.parametrize("flags", [[], ["--autostarted"]])
def test_a_wrong_file_of_the_user_is_named(flags: list[str], tmp_path: Path) -> None:
    file = user_file(tmp_path, "nise = 3\n")
    with pytest.raises(ConfigError, match=f"{file}: unknown setting 'nise'; did you mean 'nice'"):
        load(flags, {"HOME": str(tmp_path)})


def test_an_autostarted_daemon_writes_anywhere_unless_told_where(tmp_path: Path) -> None:
    config = load(["--autostarted"], {})
    assert config.logdir_roots == (Path("/"),)
    assert not config.are_roots_given
    user_file(tmp_path, f'logdir-root = "{tmp_path}"\nlisten = "127.0.0.1:0"\nidle-exit = 7\n')
    config = load(["--autostarted"], {"HOME": str(tmp_path)})
    assert config.logdir_roots == (tmp_path,)
    assert config.are_roots_given
    assert config.listen is None
    assert config.idle_exit_secs == 7


def test_the_report_says_what_counts_and_where_it_comes_from(tmp_path: Path) -> None:
    file = user_file(tmp_path, 'writers = 3\nintake-bytes = "64MiB"\nsync = "flush"\n')
    environ = {
        "HOME": str(tmp_path),
        "BOARDD_THREADS": "2",
        "BOARDD_TOKEN": "hush-hush-hush",
        "BOARDD_RANK": "1\n2",
    }
    settings = read(["--nice", "7", "--listen", "[::1]:0", "--autostarted"], environ)
    text = render(settings, environ)
    told = json.loads(to_json(settings, environ))
    assert "hush" not in text + json.dumps(told)
    rows = {line.split("  ")[0]: line.split() for line in text.splitlines()}
    assert f"settings file: {file}" in text
    assert rows["nice"] == ["nice", "7", "--nice"]
    assert rows["threads"] == ["threads", "2", "BOARDD_THREADS"]
    assert rows["writers"] == ["writers", "3", str(file)]
    assert rows["intake-bytes"] == ["intake-bytes", "64MiB", str(file)]
    assert rows["sync"] == ["sync", "flush", str(file)]
    assert rows["listen"] == ["listen", "-", "--autostarted"]
    assert rows["max-runs"][2] == "default"
    assert rows["BOARDD_TOKEN"] == ["BOARDD_TOKEN", "(set)"]
    assert rows["BOARDD_RANK"] == ["BOARDD_RANK", r"1\n2"]
    assert told["file"] == told["default_file"] == str(file)
    assert set(told["settings"]) == set(BY_NAME)
    by_name = told["settings"]
    assert by_name["nice"] == {"value": 7, "source": "flag", "from": "--nice"}
    assert by_name["threads"] == {"value": 2, "source": "variable", "from": "BOARDD_THREADS"}
    assert by_name["intake-bytes"] == {"value": 64 << 20, "source": "file", "from": str(file)}
    assert by_name["max-runs"]["source"] == "default"
    assert by_name["logdir-root"]["value"] == ["/"]


@pytest.mark.parametrize("text", ["never", "flush", "12"])
def test_the_report_says_sync_as_it_is_set(text: str) -> None:
    assert load(["--sync", text], {}).sync.text == text


def test_no_file_is_told_with_the_place_where_one_is_looked_for(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    assert f"none, {tmp_path}/.config/boardd/config.toml" in render(read([], environ), environ)
    assert "settings file: none\n" in render(read([], {}), {})
