"""Reads a logdir with TensorBoard's own two loaders.

``loader="python"`` is what ``tensorboard --load_fast=false`` runs: its event
file loader, accumulator and multiplexer. ``loader="rust"`` starts
tensorboard-data-server's binary on the logdir and asks it over gRPC, as stock
TensorBoard does. Both answer through TensorBoard's ``DataProvider``, the
interface its plugins draw from, so what is returned here is what a user sees.
No sampling: every point is kept, except those that TensorBoard purges because
a later step overtook them.

    read_scalars(logdir, "rust")["train"]["loss"][0].value
    read_run(logdir / "train").histograms["weights"][0].buckets

The run that lies in the logdir itself is named ".".
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, TypeVar

import grpc
import numpy as np
import tensorboard_data_server
from tensorboard.backend.event_processing import (
    data_provider,
    directory_watcher,
    event_file_loader,
    io_wrapper,
    plugin_event_multiplexer,
)
from tensorboard.compat.proto import event_pb2
from tensorboard.context import RequestContext
from tensorboard.data import grpc_provider, provider
from tensorboard.plugins import base_plugin
from tensorboard.plugins.histogram.metadata import PLUGIN_NAME as HISTOGRAMS
from tensorboard.plugins.image.metadata import PLUGIN_NAME as IMAGES
from tensorboard.plugins.scalar.metadata import PLUGIN_NAME as SCALARS

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of what TensorBoard bundles
    from tensorboard.plugins.histogram.histograms_plugin import HistogramsPlugin

Loader = Literal["python", "rust"]
LOADERS: tuple[Loader, ...] = ("python", "rust")

T = TypeVar("T")
#: Points by run, then tag, in the order TensorBoard keeps them.
Series = dict[str, dict[str, list[T]]]

_PLUGINS = (
    *(SCALARS, HISTOGRAMS, IMAGES),
    *("audio", "text", "pr_curves", "mesh", "hparams", "custom_scalars", "tensor"),
)
_EVERYTHING = 2**31 - 1
_START_TIMEOUT_SECS = 60.0
_RELOAD_TIMEOUT_SECS = 60.0


class ScalarPoint(NamedTuple):
    """One scalar as TensorBoard shows it."""

    step: int
    wall_time: float
    value: float


class HistogramPoint(NamedTuple):
    """One histogram; ``buckets`` is float64 of shape [n, 3]: left, right, count."""

    step: int
    wall_time: float
    buckets: np.ndarray


class ImagePoint(NamedTuple):
    """One image summary; ``encoded`` holds its first sample's PNG file."""

    step: int
    wall_time: float
    width: int
    height: int
    encoded: bytes


class TensorPoint(NamedTuple):
    """One tensor as a plugin sees it; ``array`` holds bytes objects for strings."""

    step: int
    wall_time: float
    array: np.ndarray


class BlobsPoint(NamedTuple):
    """One sequence of files or messages, such as an audio clip or a graph."""

    step: int
    wall_time: float
    blobs: list[bytes]


@dataclass(frozen=True)
class RunState:
    """All that TensorBoard shows of one run, by tag."""

    scalars: dict[str, list[ScalarPoint]]
    histograms: dict[str, list[HistogramPoint]]
    images: dict[str, list[ImagePoint]]


class Reader:
    """Answers from one loader's view of a logdir. Made by ``open_reader``.

    ``reload`` returns once everything that was in the files when it was called
    has been loaded.
    """

    def __init__(self, data: provider.DataProvider, reload: Callable[[], None]) -> None:
        self.data_provider = data
        self.reload = reload
        self._context = RequestContext()

    def _arguments(self, plugin_name: str) -> dict[str, Any]:
        return {"experiment_id": "", "plugin_name": plugin_name, "downsample": _EVERYTHING}

    def runs(self) -> list[str]:
        """Names of the runs, sorted."""
        listed = self.data_provider.list_runs(self._context, experiment_id="")
        return sorted(run.run_name for run in listed)

    def scalars(self) -> Series[ScalarPoint]:
        """Every scalar of every run."""
        read = self.data_provider.read_scalars(self._context, **self._arguments(SCALARS))
        return _convert(read, lambda datum: ScalarPoint(datum.step, datum.wall_time, datum.value))

    def histograms(self) -> Series[HistogramPoint]:
        """Every histogram of every run."""
        read = self.data_provider.read_tensors(self._context, **self._arguments(HISTOGRAMS))
        return _convert(
            read,
            lambda datum: HistogramPoint(
                datum.step, datum.wall_time, np.asarray(datum.numpy, np.float64).reshape(-1, 3)
            ),
        )

    def served_histograms(self, run: str, tag: str) -> list[HistogramPoint]:
        """One series as TensorBoard's histograms plugin hands it to the browser."""
        plugin = HistogramsPlugin(base_plugin.TBContext(data_provider=self.data_provider))
        answer, _ = plugin.histograms_impl(self._context, tag, run, "", _EVERYTHING)
        return [
            HistogramPoint(step, wall_time, np.array(buckets, np.float64).reshape(-1, 3))
            for wall_time, step, buckets in answer
        ]

    def images(self) -> Series[ImagePoint]:
        """Every image of every run."""
        read = self.data_provider.read_blob_sequences(self._context, **self._arguments(IMAGES))

        def convert(datum: Any) -> ImagePoint:
            width, height, encoded = (
                self.data_provider.read_blob(self._context, blob_key=value.blob_key)
                for value in datum.values[:3]
            )
            return ImagePoint(datum.step, datum.wall_time, int(width), int(height), encoded)

        return _convert(read, convert)

    def tensors(self, plugin_name: str) -> Series[TensorPoint]:
        """Every tensor of every run that belongs to a plugin."""
        read = self.data_provider.read_tensors(self._context, **self._arguments(plugin_name))
        return _convert(
            read, lambda datum: TensorPoint(datum.step, datum.wall_time, np.asarray(datum.numpy))
        )

    def blobs(self, plugin_name: str) -> Series[BlobsPoint]:
        """Every blob sequence of every run that belongs to a plugin, graphs' among them."""
        read = self.data_provider.read_blob_sequences(self._context, **self._arguments(plugin_name))

        def convert(datum: Any) -> BlobsPoint:
            blobs = [
                self.data_provider.read_blob(self._context, blob_key=value.blob_key)
                for value in datum.values
            ]
            return BlobsPoint(datum.step, datum.wall_time, blobs)

        return _convert(read, convert)

    def plugin_contents(self, plugin_name: str) -> dict[str, dict[str, bytes]]:
        """What the first summary of each tensor series says to its plugin, by run and tag."""
        listed = self.data_provider.list_tensors(
            self._context, experiment_id="", plugin_name=plugin_name
        )
        return {
            run: {tag: series.plugin_content for tag, series in tags.items()}
            for run, tags in listed.items()
        }


def _convert(read: Any, convert: Callable[[Any], T]) -> Series[T]:
    return {
        run: {tag: [convert(datum) for datum in data] for tag, data in tags.items()}
        for run, tags in read.items()
    }


class DataServer:
    """tensorboard-data-server's binary, serving ``logdir`` on a free port.

    A context manager. ``reload_secs`` is its pause between two loads, None to
    load once. Entering returns once the first load is complete.
    """

    def __init__(self, logdir: Path | str, reload_secs: int | None = None) -> None:
        self._logdir = logdir
        self._reload_secs = reload_secs
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> DataServer:
        with contextlib.ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self._port_file = scratch / "port"
            self._log = scratch / "log"
            self._process = stack.enter_context(
                self._start(stack.enter_context(self._log.open("wb")))
            )
            stack.callback(self._process.kill)
            self._wait(self._port_is_known, _START_TIMEOUT_SECS)
            port = int(self._port_file.read_text())
            self.address = f"localhost:{port}"
            channel = stack.enter_context(
                grpc.secure_channel(
                    self.address,
                    grpc.local_channel_credentials(),
                    options=[("grpc.max_receive_message_length", 1 << 28)],
                )
            )
            self._wait(lambda: self._cycles("Finished") > 0, _START_TIMEOUT_SECS)
            stub = grpc_provider.make_stub(channel)
            data = grpc_provider.GrpcDataProvider(self.address, stub)
            self.reader = Reader(data, self._reload)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _start(self, log: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                tensorboard_data_server.server_binary(),
                f"--logdir={self._logdir}",
                f"--reload={'once' if self._reload_secs is None else self._reload_secs}",
                f"--samples-per-plugin={','.join(f'{plugin}=all' for plugin in _PLUGINS)}",
                "--port=0",
                f"--port-file={self._port_file}",
                "--die-after-stdin",
                "--checksum",
                "--verbose",
            ],
            stdin=subprocess.PIPE,
            stderr=log,
        )

    def log(self) -> str:
        """What the server has printed so far: warnings on broken files, load cycles."""
        return self._log.read_text()

    def _port_is_known(self) -> bool:
        return self._port_file.exists() and self._port_file.read_text().endswith("\n")

    def _cycles(self, word: str) -> int:
        return self.log().count(f"{word} load cycle")

    def _reload(self) -> None:
        if self._reload_secs is None:
            raise ValueError("a DataServer without reload_secs loads only once")
        begun = self._cycles("Starting")
        self._wait(
            lambda: self._cycles("Finished") > begun, _RELOAD_TIMEOUT_SECS + 2 * self._reload_secs
        )

    def _wait(self, condition: Callable[[], bool], timeout_secs: float) -> None:
        deadline = time.monotonic() + timeout_secs
        while not condition():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"tensorboard-data-server on {self._logdir}:\n{self.log()}")
            time.sleep(0.005)


@contextlib.contextmanager
def open_reader(
    logdir: Path | str, loader: Loader = "python", *, reload_secs: int = 1
) -> Iterator[Reader]:
    """Yields a ``Reader`` of ``logdir`` that has loaded what is there; may be reloaded.

    ``reload_secs`` is the pause between two loads of the Rust loader.
    """
    if loader == "rust":
        with DataServer(logdir, reload_secs) as server:
            yield server.reader
        return
    multiplexer = plugin_event_multiplexer.EventMultiplexer(
        size_guidance=plugin_event_multiplexer.event_accumulator.STORE_EVERYTHING_SIZE_GUIDANCE
    )

    def reload() -> None:
        multiplexer.AddRunsFromDirectory(str(logdir))
        multiplexer.Reload()

    reload()
    yield Reader(data_provider.MultiplexerDataProvider(multiplexer, str(logdir)), reload)


def read_scalars(logdir: Path | str, loader: Loader = "python") -> Series[ScalarPoint]:
    """All scalars beneath ``logdir``: ``{run: {tag: [(step, wall_time, value)]}}``."""
    with open_reader(logdir, loader) as reader:
        return reader.scalars()


def read_histograms(logdir: Path | str, loader: Loader = "python") -> Series[HistogramPoint]:
    """All histograms beneath ``logdir``: ``{run: {tag: [(step, wall_time, buckets)]}}``."""
    with open_reader(logdir, loader) as reader:
        return reader.histograms()


def read_images(logdir: Path | str, loader: Loader = "python") -> Series[ImagePoint]:
    """All images beneath ``logdir``, by run and tag."""
    with open_reader(logdir, loader) as reader:
        return reader.images()


def read_run(run_directory: Path | str, loader: Loader = "python") -> RunState:
    """All that lies in one run's own directory, its sub-runs left out."""
    with open_reader(run_directory, loader) as reader:
        return RunState(
            scalars=reader.scalars().get(".", {}),
            histograms=reader.histograms().get(".", {}),
            images=reader.images().get(".", {}),
        )


def event_files(run_directory: Path | str) -> list[Path]:
    """Event files of one run in the order in which TensorBoard reads them."""
    return sorted(
        path
        for path in Path(run_directory).iterdir()
        if io_wrapper.IsTensorFlowEventsFile(str(path))
    )


def read_events(run_directory: Path | str) -> list[event_pb2.Event]:
    """Every event of a run as it was written, file by file, nothing purged.

    Goes through TensorBoard's watcher of a directory, so a file that it would
    never come back to is not read here either.
    """
    watcher = directory_watcher.DirectoryWatcher(
        str(run_directory),
        event_file_loader.LegacyEventFileLoader,
        io_wrapper.IsTensorFlowEventsFile,
    )
    return list(watcher.Load())
