from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boardd_client.calls import arguments, hparams
from boardd_client.calls.arguments import Bins
from boardd_client.environment import Access, Settings
from boardd_protos.limits import MAX_TIMEOUT_SECS


@pytest.mark.parametrize("tag", ["loss", "train/loss", "/lead", "größe", "a b", "x" * 1024])
def test_tags_are_taken_as_they_are(tag: str) -> None:
    assert arguments.tag(tag) == tag


@pytest.mark.parametrize(
    ("tag", "error", "message"),
    [
        ("", ValueError, "tag '' is empty"),
        ("//", ValueError, "tag '//' is empty"),
        ("x" * 1025, ValueError, "1025 bytes of UTF-8, expected at most 1024"),
        ("é" * 513, ValueError, "1026 bytes"),
        ("\ud800", ValueError, "cannot be encoded as UTF-8"),
        (b"loss", TypeError, "tag is a bytes, expected a str"),
        (None, TypeError, "tag is a NoneType, expected a str"),
        (["loss"], TypeError, "tag is a list, expected a str"),
    ],
)
def test_tags_that_are_none(tag: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        arguments.tag(tag)


@pytest.mark.parametrize(
    ("value", "step"),
    [
        (None, 0),
        (0, 0),
        (True, 1),
        (-5, -5),
        ((1 << 63) - 1, (1 << 63) - 1),
        (2.9, 2),
        (-2.9, -2),
        (np.int32(7), 7),
        (np.uint64(1 << 62), 1 << 62),
        (np.float64(3.7), 3),
        (np.array(4), 4),
        (np.array([6]), 6),
        (np.array((1 << 63) - 1), (1 << 63) - 1),
    ],
)
def test_steps(value: Any, step: int) -> None:
    result = arguments.step(value)
    assert result == step
    assert type(result) is int or isinstance(value, bool)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (float("nan"), ValueError, "global_step is nan, expected a finite number"),
        (np.float32("inf"), ValueError, "global_step is inf"),
        (1 << 63, ValueError, "global_step 9223372036854775808 is outside int64"),
        (-1e300, ValueError, "outside int64"),
        ("7", TypeError, "global_step is a str"),
        (1j, TypeError, "global_step is a complex"),
        (np.complex64(1), TypeError, "global_step is"),
        (np.ones(2), ValueError, "global_step is a numpy.ndarray, expected one element"),
        ([1], TypeError, "global_step is a list"),
    ],
)
def test_steps_that_are_none(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        arguments.step(value)


@pytest.mark.parametrize(
    ("value", "bins"),
    [
        (1, Bins(count=1)),
        (np.int64(1000), Bins(count=1000)),
        (np.array(30), Bins(count=30)),
        (65536, Bins(count=65536)),
        ("default", Bins(rule="default")),
        ("tensorflow", Bins(rule="default")),
        ("fd", Bins(rule="fd")),
        ([0, 1], Bins(edges=(0.0, 1.0))),
        ((-1.5, 0, 0, 2), Bins(edges=(-1.5, 0.0, 0.0, 2.0))),
        (np.linspace(0, 1, 3, dtype=np.float32), Bins(edges=(0.0, 0.5, 1.0))),
        (range(3), Bins(edges=(0.0, 1.0, 2.0))),
    ],
)
def test_bins(value: Any, bins: Bins) -> None:
    assert arguments.bins(value) == bins


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, "bins 0 is out of range, expected 1 to 65536"),
        (-3, ValueError, "bins -3"),
        (65537, ValueError, "bins 65537"),
        (True, TypeError, "bins True is a bool"),
        (2.5, TypeError, "bins is a float"),
        (None, TypeError, "bins is a NoneType"),
        ("silverman", ValueError, "bins 'silverman' is none of default, auto"),
        ([], ValueError, "bins has 0 edges, expected 2 to 65537"),
        ([1.0], ValueError, "bins has 1 edges"),
        (np.zeros(65538), ValueError, "bins has 65538 edges"),
        ([[0, 1], [1, 2]], ValueError, "bins has shape (2, 2)"),
        ([0, 2, 1], ValueError, "bins must not descend, got 2.0 before 1.0 at 1"),
        ([0, float("nan")], ValueError, "bins has the edge nan at 1"),
        ([0, float("inf")], ValueError, "bins has the edge inf at 1"),
        (["a", "b"], TypeError, "bins is a list of other than real numbers"),
        (np.array([1j, 2j]), TypeError, "other than real numbers"),
        ([object(), 1], TypeError, "other than real numbers"),
    ],
)
def test_bins_that_are_none(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        arguments.bins(value)


@pytest.mark.parametrize(
    ("function", "value", "result"),
    [
        (arguments.logdir, "logs", "logs"),
        (arguments.logdir, Path("/a/b"), "/a/b"),
        (arguments.run, None, ""),
        (arguments.run, "a//b/./c/", "a/b/c"),
        (arguments.filename_suffix, None, ""),
        (arguments.filename_suffix, ".v2", ".v2"),
    ],
)
def test_names(function: Any, value: Any, result: str) -> None:
    assert function(value) == result


@pytest.mark.parametrize(
    ("function", "value", "error"),
    [
        (arguments.logdir, "", ValueError),
        (arguments.logdir, "a\0b", ValueError),
        (arguments.logdir, b"logs", TypeError),
        (arguments.logdir, None, TypeError),
        (arguments.run, "", ValueError),
        (arguments.run, "/abs", ValueError),
        (arguments.run, "a/../../b", ValueError),
        (arguments.run, ".", ValueError),
        (arguments.run, "x" * 256, ValueError),
        (arguments.run, "a\0b", ValueError),
        (arguments.run, 3, TypeError),
        (arguments.filename_suffix, "a/b", ValueError),
        (arguments.filename_suffix, "x" * 65, ValueError),
        (arguments.filename_suffix, 1, TypeError),
    ],
)
def test_names_that_are_none(function: Any, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        function(value)


def test_the_name_of_a_curve_becomes_a_directory_beneath_its_tag() -> None:
    assert arguments.sub_run("curves", "sin") == "curves/sin"
    assert arguments.sub_run("/a b", "exp(x)") == "a b/exp(x)"
    for name, error in (("..", ValueError), ("", ValueError), (1, TypeError), ("\0", ValueError)):
        with pytest.raises(error):
            arguments.sub_run("curves", name)


def test_numbers_of_things_and_of_seconds() -> None:
    assert arguments.count(0, "max_queue") == 0
    assert arguments.secs(0.5, "flush_secs") == 0.5
    assert arguments.secs(np.int64(2), "flush_secs") == 2.0
    for value, error in ((-1, ValueError), (True, TypeError), (1.5, TypeError)):
        with pytest.raises(error, match="max_queue"):
            arguments.count(value, "max_queue")
    for value, error in ((-1, ValueError), ("1", TypeError), (float("inf"), ValueError)):
        with pytest.raises(error, match="flush_secs"):
            arguments.secs(value, "flush_secs")


def test_timeouts_of_any_length() -> None:
    assert arguments.timeout(0) == 0
    assert arguments.timeout(0.25) == 0.25
    for value in (1e10, 10**10, 10**400, 1e300):
        assert arguments.timeout(value) == MAX_TIMEOUT_SECS
    for value, error in (
        (-1, ValueError),
        (-(10**400), TypeError),
        (float("inf"), ValueError),
        (float("nan"), ValueError),
        ("1", TypeError),
    ):
        with pytest.raises(error, match="timeout"):
            arguments.timeout(value)


def test_choices() -> None:
    assert arguments.choice("drop", "on_full", arguments.ON_FULL) == "drop"
    with pytest.raises(ValueError, match="on_full is 'wait', expected one of drop, block"):
        arguments.choice("wait", "on_full", arguments.ON_FULL)
    with pytest.raises(TypeError, match="level is a NoneType"):
        arguments.choice(None, "level", arguments.LEVELS)


def test_settings_come_from_the_environment() -> None:
    assert Settings.from_environ({}) == Settings()
    environ = {
        "BOARDD_ADDRESS": "unix:/s",
        "BOARDD_LOG_BYTES": "100000",
        "BOARDD_ARENA_BYTES": " 200000 ",
        "BOARDD_LARGE_TENSOR_BYTES": "300000",
        "BOARDD_SHARED_MEMORY": "0",
        "BOARDD_SCALAR_HISTORY_BYTES": "0",
        "BOARDD_BLOCK_TIMEOUT_SECS": "1.5",
        "BOARDD_EXIT_TIMEOUT_SECS": "0",
        "BOARDD_TOKEN": "secret",
        "BOARDD_TOKEN_FILE": "/token",
        "BOARDD_TLS_CA": "/ca.pem",
        "BOARDD_TLS_CLIENT_CERT": "/cert.pem",
        "BOARDD_TLS_CLIENT_KEY": "/key.pem",
        "BOARDD_EPOCH": "12",
    }
    access = Access("secret", "/token", "/ca.pem", "/cert.pem", "/key.pem")
    assert Settings.from_environ(environ) == Settings(
        "unix:/s", 100_000, 200_000, 300_000, False, 0, 1.5, 0.0, access, 12
    )
    assert Settings.from_environ({"BOARDD_SHARED_MEMORY": "1"}).shared_memory


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("BOARDD_LOG_BYTES", "8M"),
        ("BOARDD_LOG_BYTES", "100"),
        ("BOARDD_LOG_BYTES", str(1 << 32)),
        ("BOARDD_ARENA_BYTES", "-1"),
        ("BOARDD_SHARED_MEMORY", "no"),
        ("BOARDD_EPOCH", "0"),
        ("BOARDD_EPOCH", "-1"),
        ("BOARDD_EPOCH", "now"),
        ("BOARDD_EPOCH", str(1 << 64)),
        ("BOARDD_BLOCK_TIMEOUT_SECS", "soon"),
        ("BOARDD_EXIT_TIMEOUT_SECS", "nan"),
        ("BOARDD_EXIT_TIMEOUT_SECS", "-1"),
    ],
)
def test_settings_that_are_none_name_the_variable(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"{name}='{text}'"):
        Settings.from_environ({name: text})


@pytest.mark.parametrize(
    ("value", "wall_time"), [(None, None), (0, 0.0), (12.5, 12.5), (np.float64(3), 3.0)]
)
def test_wall_times(value: Any, wall_time: float | None) -> None:
    assert arguments.wall_time(value) == wall_time


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (float("nan"), ValueError, "walltime is nan, expected a finite number"),
        (float("-inf"), ValueError, "walltime is -inf, expected a finite number"),
        ("now", TypeError, "walltime is a str, expected a number"),
    ],
)
def test_wall_times_that_are_none(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        arguments.wall_time(value)


@pytest.mark.parametrize("value", [None, 0, -3, np.int64(1 << 40)])
def test_purge_steps(value: Any) -> None:
    assert arguments.purge_step(value) == value


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (1.5, TypeError, "purge_step is 1.5, expected an int"),
        (True, TypeError, "purge_step is True, expected an int"),
        ("3", TypeError, "purge_step is '3', expected an int"),
        (1 << 63, ValueError, "purge_step 9223372036854775808 is outside int64"),
    ],
)
def test_purge_steps_that_are_none(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        arguments.purge_step(value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what MXNet imports
@pytest.mark.parametrize("framework", ["torch", "mxnet"])
def test_steps_and_hyperparameters_may_be_of_a_framework(framework: str) -> None:
    module = pytest.importorskip(framework)
    value = module.tensor([7]) if framework == "torch" else module.nd.array([7])
    assert arguments.step(value) == 7
    assert hparams.values({"rate": value})["rate"].number == 7
