"""Meshes and point clouds, as TensorBoard's mesh plugin reads them.

One mesh is up to three series, ``<tag>_VERTEX``, ``<tag>_FACE`` and
``<tag>_COLOR``, each with its own tensor and all with the mesh's tag in their
metadata (tensorboard/plugins/mesh/summary.py).
"""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.invalid import InvalidRecordError, InvalidTensorError

from boardd.events.event_pb2 import Summary
from boardd.events.plugins_pb2 import MeshPluginData
from boardd.events.tensors import as_float32, plugin_value, tensor_proto

PLUGIN: Final = "mesh"

_Content = MeshPluginData.ContentType


def mesh_values(
    tag: str,
    vertices: npt.NDArray[Any],
    faces: npt.NDArray[Any] | None = None,
    colors: npt.NDArray[Any] | None = None,
    config_json: str = "",
) -> list[Summary.Value]:
    """The values of a batch of meshes, to be written in one event.

    ``vertices`` is [batch, n, 3], coordinates, stored as float32. ``faces`` is
    [batch, m, 3], for each triangle the indices of its vertices, stored as
    int32; without it TensorBoard draws points. ``colors`` is [batch, n, 3], red,
    green and blue from 0 to 255 for each vertex, stored as uint8, fractions cut
    off. ``config_json`` sets the scene up, an object of THREE.js classes; empty
    for TensorBoard's own.

    Raises ``InvalidTensorError`` on other shapes, on what is not numbers, on faces with a
    vertex that is not there and on colors out of range, and ``InvalidRecordError``.
    """
    _check(vertices, "vertices")
    parts: list[tuple[_Content, npt.NDArray[Any]]] = [(MeshPluginData.VERTEX, as_float32(vertices))]
    if faces is not None:
        _check(faces, "faces")
        _check_batch(faces, "faces", vertices)
        _check_range(faces, "faces", vertices.shape[1] - 1)
        parts.append((MeshPluginData.FACE, faces.astype(np.int32)))
    if colors is not None:
        _check(colors, "colors")
        if colors.shape != vertices.shape:
            raise InvalidTensorError(
                f"colors of shape {colors.shape} for vertices of shape {vertices.shape}; "
                "give each vertex a color"
            )
        _check_range(colors, "colors", 255)
        parts.append((MeshPluginData.COLOR, colors.astype(np.uint8)))
    components = sum(1 << content for content, _ in parts)
    config = _checked_config(config_json)
    return [
        plugin_value(
            f"{tag}_{_Content.Name(content)}",
            tensor_proto(array),
            PLUGIN,
            MeshPluginData(
                version=0,
                name=tag,
                content_type=content,
                json_config=config,
                shape=array.shape,
                components=components,
            ).SerializeToString(),
        )
        for content, array in parts
    ]


def _check(array: npt.NDArray[Any], what: str) -> None:
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype.kind not in "biuf":
        raise InvalidTensorError(
            f"{what} of {array.dtype} and shape {array.shape}; give numbers of shape [batch, n, 3]"
        )


def _check_batch(array: npt.NDArray[Any], what: str, vertices: npt.NDArray[Any]) -> None:
    if array.shape[0] != vertices.shape[0]:
        raise InvalidTensorError(
            f"{what} of {array.shape[0]} meshes for vertices of {vertices.shape[0]}; "
            "give them the same batch"
        )


def _check_range(array: npt.NDArray[Any], what: str, most: int) -> None:
    if not array.size:
        return
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= most):  # NaN is neither
        raise InvalidTensorError(f"{what} from {low} to {high}; they may be from 0 to {most}")


def _checked_config(config_json: str) -> str:
    if not config_json:
        return ""
    try:
        config = json.loads(config_json)
    except (ValueError, RecursionError) as error:
        raise InvalidRecordError(f"mesh configuration {config_json[:60]!r}: {error}") from error
    # tensorboardX writes "null" if there is none.
    if config is not None and not isinstance(config, dict):
        raise InvalidRecordError(f"mesh configuration {config_json[:60]!r} is not a JSON object")
    return config_json if config else ""
