"""A drop-in for ``torch.utils.tensorboard``: change the import, and nothing else.

>>> from boardd_client.torch import SummaryWriter
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from boardd_client.dropins import values
from boardd_client.dropins.calls import SharedCalls, default_directory

__all__ = ["SummaryWriter"]


class SummaryWriter(SharedCalls):
    """PyTorch's ``SummaryWriter``, on top of boardd's; tags are written as they are.

    Args:
        log_dir: directory of the run. Default: ``runs/<time>_<host><comment>``.
        comment: ends the default directory's name.
        purge_step: the step from which training goes on, see ``boardd_client.SummaryWriter``.
        max_queue: when this many records wait, they are sent now.
        flush_secs: the longest time, in seconds, until a record is sent.
        filename_suffix: ends the names of the event files.

    Raises:
        TypeError, ValueError: not as described.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str = "",
    ) -> None:
        self.log_dir = os.fspath(log_dir) if log_dir else default_directory(comment)
        self.purge_step = purge_step
        self.max_queue = max_queue
        self.flush_secs = flush_secs
        self.filename_suffix = filename_suffix
        super().__init__(
            self.log_dir,
            purge_step=purge_step,
            max_queue=max_queue,
            flush_secs=flush_secs,
            filename_suffix=filename_suffix,
            keep_tags=True,
        )

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: Any = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """Logs a number.

        ``new_style`` has it written as a tensor, as TensorFlow 2 does, and ``double_precision``
        as one of float64, which TensorBoard shows with ``--load_fast=false`` only.
        """
        if new_style or double_precision:
            self._core.add_scalar_tensor(
                tag,
                scalar_value,
                global_step,
                double_precision=double_precision,
                walltime=walltime,
            )
        else:
            self._core.add_number(tag, scalar_value, global_step, walltime)

    def _curve(self, main_tag: str, name: str) -> str:
        return f"{main_tag.replace('/', '_')}_{name}"

    def add_image_with_boxes(
        self,
        tag: str,
        img_tensor: Any,
        box_tensor: Any,
        global_step: Any = None,
        walltime: float | None = None,
        rescale: float = 1,
        dataformats: str = "CHW",
        labels: str | Sequence[str] | None = None,
    ) -> None:
        """Logs an image with red boxes on it."""
        given = (tag, img_tensor, box_tensor, global_step, walltime, labels)
        self._add_boxes(*given, dataformats=dataformats, rescale=rescale)

    def add_video(
        self,
        tag: str,
        vid_tensor: Any,
        global_step: Any = None,
        fps: float = 4,
        walltime: float | None = None,
    ) -> None:
        """Logs a batch of clips, [N, T, C, H, W], as an animated GIF."""
        clips = values.pixels(vid_tensor)
        self._core.add_video(tag, clips, global_step, fps=fps, walltime=walltime)

    def add_hparams(
        self,
        hparam_dict: Mapping[str, Any],
        metric_dict: Mapping[str, Any],
        hparam_domain_discrete: Mapping[str, Sequence[Any]] | None = None,
        run_name: str | None = None,
        global_step: Any = None,
    ) -> None:
        """Logs hyperparameters and results as a sub-run, ``"."`` for the run itself."""
        self._core.add_hparams(
            hparam_dict, metric_dict, run_name or None, global_step, domains=hparam_domain_discrete
        )

    def add_onnx_graph(self, prototxt: str) -> None:
        """Logs the graph of an ONNX file, which PyTorch and ``onnx`` read."""
        from torch.utils.tensorboard._onnx_graph import load_onnx_graph

        self.file_writer.add_onnx_graph(load_onnx_graph(prototxt))
