"""The calls that PyTorch's and tensorboardX's writers share, in their order, with their defaults.

Documented where they come from, ``torch.utils.tensorboard.SummaryWriter``; what is said here is
where boardd differs. No call waits for the value that it logs, but for those that
``boardd_client.SummaryWriter`` names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from os.path import join
from socket import gethostname
from types import TracebackType
from typing import Any, Final, cast

import numpy as np

from boardd_client.calls import arguments, graphs
from boardd_client.dropins import values
from boardd_client.dropins.core_writer import CoreWriter, NoWriter
from boardd_client.dropins.defaults import Defaults
from boardd_client.dropins.file_writer import FileWriter

_UNTITLED: Final = "untitled"


def default_directory(comment: str) -> str:
    """The directory of a run that is given none: ``runs/<time>_<host><comment>``."""
    return join("runs", f"{datetime.now():%b%d_%H-%M-%S}_{gethostname()}{comment}")


class SharedCalls(ABC):
    """See the module.

    Args:
        logdir: directory of the run.
        writes: whether anything is logged at all.
        options: what ``boardd_client.SummaryWriter`` takes besides.
    """

    def __init__(self, logdir: str, *, writes: bool = True, **options: Any) -> None:
        self._core = cast(CoreWriter, CoreWriter(logdir, **options) if writes else NoWriter())
        self._logdir = logdir
        self._defaults = Defaults()
        self.default_bins = values.default_bins()
        self.file_writer = FileWriter(self._core, logdir, self._defaults)
        self.all_writers = {logdir: self.file_writer}

    def _get_file_writer(self) -> FileWriter:
        return self.file_writer

    def get_logdir(self) -> str:
        """The log directory as it was given."""
        return self._logdir

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: Mapping[str, Any],
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Logs several curves in one plot, each as a sub-run."""
        step, seconds = self._defaults.of(global_step, walltime)
        for name, value in tag_scalar_dict.items():
            self._core.add_curve(self._curve(main_tag, name), main_tag, value, step, seconds)

    @abstractmethod
    def _curve(self, main_tag: str, name: str) -> str:
        """The sub-run of a curve."""

    def add_tensor(
        self, tag: str, tensor: Any, global_step: Any = None, walltime: float | None = None
    ) -> None:
        """Logs an array as it is."""
        step, seconds = self._defaults.of(global_step, walltime)
        self._core.add_tensor(tag, tensor, step, walltime=seconds)

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: Any = None,
        bins: Any = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """Logs the distribution of values; the daemon counts them.

        ``max_bins`` joins neighbouring bins. A number of bins becomes ``max_bins`` at most; NumPy's
        rules take no ``max_bins``.
        """
        step, seconds = self._defaults.of(global_step, walltime)
        self._core.add_histogram(
            tag, values, step, fewer_bins(bins, max_bins, self.default_bins), walltime=seconds
        )

    def add_histogram_raw(
        self,
        tag: str,
        min: float,
        max: float,
        num: float,
        sum: float,
        sum_squares: float,
        bucket_limits: Any,
        bucket_counts: Any,
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Logs a histogram that was counted elsewhere."""
        step, seconds = self._defaults.of(global_step, walltime)
        if len(bucket_limits) != len(bucket_counts):
            raise ValueError(
                f"{len(bucket_limits)} bucket_limits for {len(bucket_counts)} bucket_counts"
            )
        counted = (min, max, num, sum, sum_squares, bucket_limits, bucket_counts)
        self._core.add_histogram_raw(tag, *counted, step, walltime=seconds)

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: Any = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """Logs an image, or with N in ``dataformats`` a batch as a grid, eight in a row."""
        step, seconds = self._defaults.of(global_step, walltime)
        if isinstance(img_tensor, (list, tuple)) and "N" not in dataformats.upper():
            dataformats = f"N{dataformats}"
        pixels = values.pixels(img_tensor)
        self._core.add_image(
            tag, pixels, step, dataformats=dataformats, padding=0, walltime=seconds
        )

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: Any = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """Logs a batch of images, or a list of them, as a grid, eight in a row."""
        self.add_image(tag, img_tensor, global_step, walltime, dataformats)

    def _add_boxes(
        self,
        tag: str,
        image: Any,
        boxes: Any,
        global_step: Any,
        walltime: float | None,
        labels: str | Sequence[str] | None,
        **options: Any,
    ) -> None:
        """Logs an image with boxes; ``options`` are ``dataformats`` and ``rescale``."""
        step, seconds = self._defaults.of(global_step, walltime)
        texts = [labels] if isinstance(labels, str) else labels
        pixels = values.pixels(image)
        self._core.add_image_with_boxes(
            tag, pixels, boxes, step, labels=texts, walltime=seconds, **options
        )

    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: Any = None,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        """Logs a Matplotlib figure, or a list of them; it is drawn by the call."""
        step, seconds = self._defaults.of(global_step, walltime)
        self._core.add_figure(tag, figure, step, close=close, walltime=seconds)

    def add_audio(
        self,
        tag: str,
        snd_tensor: Any,
        global_step: Any = None,
        sample_rate: int = 44100,
        walltime: float | None = None,
    ) -> None:
        """Logs a clip of sound."""
        step, seconds = self._defaults.of(global_step, walltime)
        self._core.add_audio(tag, snd_tensor, sample_rate, step, walltime=seconds)

    def add_text(
        self,
        tag: str,
        text_string: str,
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Logs a text, under ``<tag>/text_summary``."""
        step, seconds = self._defaults.of(global_step, walltime)
        name = f"{arguments.tag(tag)}/text_summary"
        self._core.add_text(name, text_string, step, walltime=seconds)

    def add_graph(
        self,
        model: Any,
        input_to_model: Any = None,
        verbose: bool = False,
        use_strict_trace: bool = True,
    ) -> None:
        """Traces a torch module, in evaluation mode, and logs its structure."""
        graph = graphs.graph(model, input_to_model, strict=bool(use_strict_trace))
        if verbose:
            print(graph)
        self._core.add_nodes(graph)

    def add_embedding(
        self,
        mat: Any,
        metadata: Any = None,
        label_img: Any = None,
        global_step: Any = None,
        tag: str = "default",
        metadata_header: Sequence[str] | None = None,
    ) -> None:
        """Logs vectors for the embedding projector, all of their columns."""
        step, _ = self._defaults.of(global_step, None)
        images = values.pixels(label_img)
        self._core.add_embedding(
            tag, mat, metadata, images, step, labels_header=metadata_header, project_to=None
        )

    def add_pr_curve(
        self,
        tag: str,
        labels: Any,
        predictions: Any,
        global_step: Any = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Logs the precision-recall curve of a binary classifier."""
        step, seconds = self._defaults.of(global_step, walltime)
        self._core.add_pr_curve(
            tag, labels, predictions, num_thresholds, step, weights, walltime=seconds
        )

    def add_pr_curve_raw(
        self,
        tag: str,
        true_positive_counts: Any,
        false_positive_counts: Any,
        true_negative_counts: Any,
        false_negative_counts: Any,
        precision: Any,
        recall: Any,
        global_step: Any = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Logs a precision-recall curve that was computed elsewhere.

        The number of thresholds is that of the values.
        """
        step, seconds = self._defaults.of(global_step, walltime)
        self._core.add_pr_curve_raw(
            tag,
            true_positive_counts,
            false_positive_counts,
            true_negative_counts,
            false_negative_counts,
            precision,
            recall,
            step,
            None,
            weights,
            walltime=seconds,
        )

    def add_custom_scalars(self, layout: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
        """Lays out the custom scalars page."""
        self._core.add_custom_scalars(layout)

    def add_custom_scalars_multilinechart(
        self, tags: Sequence[str], category: str = "default", title: str = _UNTITLED
    ) -> None:
        """Lays out the custom scalars page as one chart of several curves."""
        self._core.add_custom_scalars_multilinechart(tags, category, title)

    def add_custom_scalars_marginchart(
        self, tags: Sequence[str], category: str = "default", title: str = _UNTITLED
    ) -> None:
        """Lays out the custom scalars page as one curve with a band around it."""
        self._core.add_custom_scalars_marginchart(tags, category, title)

    def add_mesh(
        self,
        tag: str,
        vertices: Any,
        colors: Any = None,
        faces: Any = None,
        config_dict: Mapping[str, Any] | None = None,
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Logs a batch of meshes or point clouds."""
        step, seconds = self._defaults.of(global_step, walltime)
        self._core.add_mesh(tag, vertices, colors, faces, config_dict, step, walltime=seconds)

    def flush(self) -> None:
        """Has what was logged sent soon, and returns at once.

        The daemon writes it whatever becomes of this process.
        """
        self._core.nudge()

    def close(self) -> None:
        """Waits until everything is written, 30 s at most. What is logged later opens it again."""
        self.file_writer.close()

    def __repr__(self) -> str:
        return repr(self._core)

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.close()


def fewer_bins(bins: Any, max_bins: int | None, default_bins: Sequence[float]) -> Any:
    """Joins neighbouring bins, if there are more than ``max_bins``, as PyTorch's writer does.

    Raises ``ValueError`` for a rule of NumPy's, whose bins depend on the values.
    """
    if max_bins is None:
        return bins
    most = arguments.integer(max_bins, "max_bins", 1, None)
    if isinstance(bins, str):
        if bins != "tensorflow":
            raise ValueError(f"bins={bins!r} takes no max_bins; give a number of bins")
        bins = default_bins
    if isinstance(bins, (int, np.integer)):
        return min(int(bins), most)
    edges = list(bins)
    joined = (len(edges) - 1) // most
    return [*edges[:-1:joined], edges[-1]] if joined > 1 else edges
