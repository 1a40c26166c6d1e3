"""Records to look at, listen to or read: images, figures, videos, audio, text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from boardd_protos.limits import DEFAULT_NROW, NORMALIZATIONS, max_sample_rate
from boardd_protos.summary_kind import SummaryKind

from boardd_client import capture
from boardd_client.calls import arguments, figures, payloads, shapes
from boardd_client.calls.base import Calls


class MediaCalls(Calls):
    """See the module."""

    def add_image(
        self,
        tag: str,
        image: Any,
        global_step: Any = None,
        *,
        dataformats: str | None = None,
        nrow: int = DEFAULT_NROW,
        padding: int = 2,
        normalize: str | None = None,
        value_range: tuple[float, float] | None = None,
        pad_value: int = 0,
        walltime: float | None = None,
    ) -> None:
        """Logs an image, or a batch of them as a grid; the daemon encodes it.

        Args:
            tag: name of the image.
            image: an array with 1, 3 or 4 channels; uint8, or floats in [0, 1] (others
                are cut off there). With ``normalize``, of any dtype and range.
            global_step: the step; None is 0.
            dataformats: what the dimensions are, the letters H and W, C for channels
                and N for a batch, in any order. None: HW, CHW or NCHW.
            nrow: images in a row of the grid, at least 1.
            padding: pixels around each image of a grid, at least 0.
            normalize: ``"batch"`` or ``"image"``: stretch the finite values over [0, 1]
                first, from the least to the greatest of the batch, or of each image.
                None: leave them as they are.
            value_range: with ``normalize``, the two values that become 0 and 1 instead.
            pad_value: value of the pixels around the images, 0 to 255.
            walltime: seconds since the epoch; None is now.

        Raises:
            TypeError, ValueError: not as described, or a grid of more than 2**27 pixels.
        """
        tag = arguments.tag(tag)
        step = arguments.step(global_step)
        nrow = arguments.integer(nrow, "nrow", 1, None)
        padding = arguments.integer(padding, "padding", 0, None)
        pad_value = arguments.integer(pad_value, "pad_value", 0, 255)
        mode = ""
        if normalize is not None:
            mode = arguments.choice(normalize, "normalize", NORMALIZATIONS)
        bounds = () if value_range is None else arguments.interval(value_range, "value_range")
        if bounds and not mode:
            raise ValueError(f"value_range is {value_range!r} without normalize")
        tensor = capture.tensor(image, "image")
        formats = shapes.image(
            tensor, dataformats, nrow=nrow, padding=padding, any_dtype=bool(mode)
        )
        payload = payloads.image(
            tensor.dtype,
            tensor.shape,
            formats,
            nrow=nrow,
            padding=padding,
            normalize=mode,
            value_range=bounds,
            pad_value=pad_value,
        )
        self._log_summary(tag, step, payload, [tensor], kind=SummaryKind.IMAGE, walltime=walltime)

    def add_images(
        self,
        tag: str,
        images: Any,
        global_step: Any = None,
        *,
        dataformats: str = "NCHW",
        walltime: float | None = None,
    ) -> None:
        """Logs a batch of images as one grid, eight in a row without padding.

        That is tensorboardX's layout. ``add_image`` takes batches too, and lays them out
        as MXBoard does, with padding.

        Args:
            tag: name of the grid.
            images: as ``add_image`` takes them.
            global_step: the step; None is 0.
            dataformats: what the dimensions are, with N.
            walltime: seconds since the epoch; None is now.

        Raises:
            TypeError, ValueError: not as described.
        """
        if isinstance(dataformats, str) and "N" not in dataformats.upper():
            raise ValueError(f"dataformats is {dataformats!r}, expected a batch such as 'NCHW'")
        self.add_image(
            tag, images, global_step, dataformats=dataformats, padding=0, walltime=walltime
        )

    def add_image_with_boxes(
        self,
        tag: str,
        image: Any,
        boxes: Any,
        global_step: Any = None,
        *,
        labels: Sequence[str] | None = None,
        dataformats: str = "CHW",
        rescale: float = 1,
        walltime: float | None = None,
    ) -> None:
        """Logs an image with red boxes drawn on it.

        Args:
            tag: name of the image.
            image: one image, as ``add_image`` takes it.
            boxes: [n, 4]: xmin, ymin, xmax, ymax in pixels from the top left corner.
            global_step: the step; None is 0.
            labels: n texts, drawn at the lower left corner of each box.
            dataformats: what the image's dimensions are, without N.
            rescale: the image is shown so many times as wide and as high, above 0.
            walltime: seconds since the epoch; None is now.

        Raises:
            TypeError, ValueError: not as described.
        """
        tag = arguments.tag(tag)
        step = arguments.step(global_step)
        tensors = [capture.tensor(image, "image"), capture.tensor(boxes, "boxes")]
        formats = shapes.image(tensors[0], dataformats)
        if "N" in formats:
            raise ValueError(f"dataformats is {dataformats!r}, expected one image such as 'CHW'")
        count = shapes.boxes(tensors[1])
        texts = () if labels is None else arguments.strings(labels, "labels")
        if texts and len(texts) != count:
            raise ValueError(f"labels has {len(texts)} elements for {count} boxes")
        factor = arguments.number(rescale, "rescale")
        shapes.rescaled(tensors[0], formats, factor)
        payload = payloads.image_with_boxes(tensors, formats, texts, factor)
        self._log_summary(tag, step, payload, tensors, kind=SummaryKind.IMAGE, walltime=walltime)

    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: Any = None,
        *,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        """Logs a matplotlib figure, or several of one size as a grid.

        The call draws it on the caller's thread, because Matplotlib may not be used from
        two threads. The daemon encodes the pixels.

        Args:
            tag: name of the image.
            figure: a ``matplotlib.figure.Figure``, or a list of them.
            global_step: the step; None is 0.
            close: whether to close the figures in ``pyplot``.
            walltime: seconds since the epoch; None is now.

        Raises:
            TypeError, ValueError: not as described.
        """
        tag = arguments.tag(tag)
        step = arguments.step(global_step)
        pixels = figures.pixels(figure, close=bool(close))
        # tensorboardX's grid of figures has no padding.
        formats = "NHWC"[4 - pixels.ndim :]
        self.add_image(tag, pixels, step, dataformats=formats, padding=0, walltime=walltime)

    def add_video(
        self,
        tag: str,
        video: Any,
        global_step: Any = None,
        *,
        fps: float = 4,
        dataformats: str = "NTCHW",
        walltime: float | None = None,
    ) -> None:
        """Logs a video as an animated GIF, several clips side by side.

        Args:
            tag: name of the video.
            video: an array of clips with 1, 3 or 4 channels; uint8, or floats in [0, 1].
            global_step: the step; None is 0.
            fps: frames a second; above 50 it plays at 50, as fast as browsers do.
            dataformats: what the dimensions are: N clips, T frames, C channels, H and W.
            walltime: seconds since the epoch; None is now.

        Raises:
            TypeError, ValueError: not as described.
        """
        tag = arguments.tag(tag)
        step = arguments.step(global_step)
        rate = arguments.number(fps, "fps")
        if rate <= 0:
            raise ValueError(f"fps is {fps!r}, expected more than 0")
        tensor = capture.tensor(video, "video")
        formats = shapes.video(tensor, dataformats)
        payload = payloads.video(tensor, formats, rate)
        self._log_summary(tag, step, payload, [tensor], kind=SummaryKind.IMAGE, walltime=walltime)

    def add_audio(
        self,
        tag: str,
        audio: Any,
        sample_rate: int = 44100,
        global_step: Any = None,
        *,
        walltime: float | None = None,
    ) -> None:
        """Logs a clip of sound, as 16-bit WAV.

        Args:
            tag: name of the clip.
            audio: floats in [-1, 1] (others are cut off there) or int16; one channel [n],
                or two channels [n, 2] or [2, n]. Dimensions of length 1 do not count.
            sample_rate: samples a second, at least 1.
            global_step: the step; None is 0.
            walltime: seconds since the epoch; None is now.

        Raises:
            TypeError, ValueError: not as described.
        """
        tag = arguments.tag(tag)
        step = arguments.step(global_step)
        rate = arguments.integer(sample_rate, "sample_rate", 1, max_sample_rate(1))
        tensor = capture.tensor(audio, "audio")
        shapes.audio(tensor, rate)
        payload = payloads.audio(tensor, rate)
        self._log_summary(tag, step, payload, [tensor], kind=SummaryKind.AUDIO, walltime=walltime)

    def add_text(
        self, tag: str, text: str, global_step: Any = None, *, walltime: float | None = None
    ) -> None:
        """Logs a text, which TensorBoard shows as Markdown.

        Args:
            tag: name of the text.
            text: at most 1 MiB of UTF-8.
            global_step: the step; None is 0.
            walltime: seconds since the epoch; None is now.

        Raises:
            TypeError, ValueError: not as described.
        """
        tag = arguments.tag(tag)
        step = arguments.step(global_step)
        payload = payloads.text(arguments.string(text, "text"))
        self._log_summary(tag, step, payload, kind=SummaryKind.TEXT, walltime=walltime)
