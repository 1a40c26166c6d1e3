"""A drop-in for tensorboardX: change the import, and nothing else.

>>> from boardd_client.tensorboardX import SummaryWriter
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from boardd_client.dropins import values
from boardd_client.dropins.calls import SharedCalls, default_directory
from boardd_client.dropins.file_writer import FileWriter
from boardd_client.dropins.global_writer import GlobalCalls

_NO_COMET: Final = MappingProxyType({"disabled": True})

__all__ = ["GlobalSummaryWriter", "SummaryWriter"]


class SummaryWriter(SharedCalls):
    """tensorboardX's ``SummaryWriter``, on top of boardd's.

    Args:
        logdir: directory of the run. Default: ``runs/<time>_<host><comment>``.
        comment: ends the default directory's name.
        purge_step: the step from which training goes on, see ``boardd_client.SummaryWriter``.
        max_queue: when this many records wait, they are sent now.
        flush_secs: the longest time, in seconds, until a record is sent.
        filename_suffix: ends the names of the event files.
        write_to_disk: False: nothing is logged.
        log_dir: another name of ``logdir``.
        comet_config: must be disabled, since boardd sends nothing to Comet.
        kwargs: none; boardd knows no other argument.

    Raises:
        TypeError, ValueError: not as described.
    """

    def __init__(
        self,
        logdir: str | os.PathLike[str] | None = None,
        comment: str | None = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str | None = "",
        write_to_disk: bool = True,
        log_dir: str | os.PathLike[str] | None = None,
        comet_config: Mapping[str, Any] = _NO_COMET,
        **kwargs: Any,
    ) -> None:
        if kwargs:
            raise TypeError(f"boardd knows no argument {', '.join(sorted(kwargs))}")
        if comet_config and not comet_config.get("disabled"):
            raise ValueError("comet_config is not disabled; boardd sends nothing to Comet")
        given = logdir or log_dir
        self.logdir = os.fspath(given) if given else default_directory(comment or "")
        self.purge_step = purge_step
        super().__init__(
            self.logdir,
            writes=bool(write_to_disk),
            purge_step=purge_step,
            max_queue=max_queue,
            flush_secs=flush_secs,
            filename_suffix=filename_suffix,
        )

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: Any = None,
        walltime: float | None = None,
        display_name: str = "",
        summary_description: str = "",
    ) -> None:
        """Logs a number, shown with a heading and a text of its own if they are given.

        A list of one number is a number, too.
        """
        step, seconds = self._defaults.of(global_step, walltime)
        if isinstance(scalar_value, list):
            scalar_value = np.asarray(scalar_value)
        if display_name or summary_description:
            self._core.add_scalar_tensor(
                tag,
                scalar_value,
                step,
                display_name=display_name,
                description=summary_description,
                walltime=seconds,
            )
        else:
            self._core.add_number(tag, scalar_value, step, seconds)

    def _curve(self, main_tag: str, name: str) -> str:
        return os.path.join(main_tag, name)

    def add_image_with_boxes(
        self,
        tag: str,
        img_tensor: Any,
        box_tensor: Any,
        global_step: Any = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
        labels: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Logs an image with red boxes on it.

        ``rescale``, the one other argument, makes the image larger or smaller.
        """
        given = (tag, img_tensor, box_tensor, global_step, walltime, labels)
        self._add_boxes(*given, dataformats=dataformats, rescale=_rescale(**kwargs))

    def add_video(
        self,
        tag: str,
        vid_tensor: Any,
        global_step: Any = None,
        fps: float = 4,
        walltime: float | None = None,
        dataformats: str = "NTCHW",
    ) -> None:
        """Logs a batch of clips as an animated GIF."""
        step, seconds = self._defaults.of(global_step, walltime)
        clips = values.pixels(vid_tensor)
        self._core.add_video(tag, clips, step, fps=fps, dataformats=dataformats, walltime=seconds)

    def add_hparams(
        self,
        hparam_dict: Mapping[str, Any],
        metric_dict: Mapping[str, Any],
        name: str | None = None,
        global_step: Any = None,
    ) -> None:
        """Logs hyperparameters and the results that they led to, as a sub-run."""
        step, _ = self._defaults.of(global_step, None)
        self._core.add_hparams(hparam_dict, metric_dict, name, step)

    def add_onnx_graph(self, onnx_model_file: str) -> None:
        """Logs the graph of an ONNX file, which tensorboardX and ``onnx`` read."""
        from tensorboardX.onnx_graph import load_onnx_graph

        self.file_writer.add_onnx_graph(load_onnx_graph(onnx_model_file))

    def add_openvino_graph(self, xmlname: str) -> None:
        """Logs the graph of an OpenVINO file, which tensorboardX reads."""
        from tensorboardX.openvino_graph import load_openvino_graph

        self.file_writer.add_onnx_graph(load_openvino_graph(xmlname))

    def export_scalars_to_json(self, path: str | os.PathLike[str]) -> None:
        """Writes the scalars logged since the last export to a JSON file."""
        self._core.export_scalars(path)
        self._core.clear_scalar_dict()

    def use_metadata(
        self, *, global_step: Any = None, walltime: float | None = None
    ) -> AbstractContextManager[SummaryWriter]:
        """Gives records without a step or wall time these, until the block ends.

        Raises ``ValueError`` for neither of them, and within another such block.
        """
        return self._defaults.set(self, global_step, walltime)


def _rescale(rescale: float = 1) -> float:
    return rescale


class GlobalSummaryWriter(GlobalCalls):
    """tensorboardX's ``GlobalSummaryWriter``: it counts the steps of each tag, over processes.

    Args:
        logdir: directory of the run. Default: ``runs/<time>_<host><comment>``.
        comment: ends the default directory's name.
        purge_step: the step from which training goes on, see ``boardd_client.SummaryWriter``.
        max_queue: when this many records wait, they are sent now.
        flush_secs: the longest time, in seconds, until a record is sent.
        filename_suffix: ends the names of the event files.
        write_to_disk: False: nothing is logged.
        log_dir: another name of ``logdir``.
        coalesce_process: makes no difference; processes share the run in any case.
        kwargs: ``comet_config``, as of ``SummaryWriter``.

    Raises:
        TypeError, ValueError: not as described.
    """

    def __init__(
        self,
        logdir: str | os.PathLike[str] | None = None,
        comment: str | None = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str | None = "",
        write_to_disk: bool = True,
        log_dir: str | os.PathLike[str] | None = None,
        coalesce_process: bool = True,
        **kwargs: Any,
    ) -> None:
        self.smw = SummaryWriter(
            logdir,
            comment,
            purge_step,
            max_queue,
            flush_secs,
            filename_suffix,
            write_to_disk,
            log_dir,
            **kwargs,
        )
        super().__init__()

    def add_scalar(self, tag: str, scalar_value: Any, walltime: float | None = None) -> None:
        """Logs a number at the tag's next step."""
        with self._next("scalar", tag) as step:
            self.smw.add_scalar(tag, scalar_value, step, walltime)

    def add_image(
        self, tag: str, img_tensor: Any, walltime: float | None = None, dataformats: str = "CHW"
    ) -> None:
        """Logs an image at the tag's next step."""
        with self._next("image", tag) as step:
            self.smw.add_image(tag, img_tensor, step, walltime, dataformats)

    def add_text(self, tag: str, text_string: str, walltime: float | None = None) -> None:
        """Logs a text at the tag's next step."""
        with self._next("text", tag) as step:
            self.smw.add_text(tag, text_string, step, walltime)

    @property
    def file_writer(self) -> FileWriter:
        """What logs ready messages."""
        return self.smw.file_writer

    def close(self) -> None:
        """Waits until everything is written, 30 s at most. What is logged later opens it again."""
        self.smw.close()

    @staticmethod
    def getSummaryWriter() -> GlobalSummaryWriter:
        """The one writer of this process, made at the first call."""
        global _writer
        if _writer is None:
            _writer = GlobalSummaryWriter()
        return _writer


_writer: GlobalSummaryWriter | None = None
