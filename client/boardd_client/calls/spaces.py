"""Points in space: embeddings for the projector, meshes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from boardd_protos.summary_kind import SummaryKind

from boardd_client import capture
from boardd_client.calls import arguments, payloads, shapes
from boardd_client.calls import labels as label_columns
from boardd_client.calls.base import Calls

#: What TensorBoard's mesh plugin appends to a mesh's tag for each of its series.
_MESH_SUFFIXES: Final = {"vertices": "_VERTEX", "faces": "_FACE", "colors": "_COLOR"}


class SpaceCalls(Calls):
    """See the module."""

    def add_embedding(
        self,
        tag: str,
        embedding: Any,
        labels: Any = None,
        images: Any = None,
        global_step: Any = None,
        *,
        labels_header: Sequence[str] | None = None,
        project_to: int | None = 200,
    ) -> None:
        """Logs vectors for the embedding projector, in the folder ``<tag>_<step>``.

        The step in the folder's name has at least six digits. Without a step the name is
        ``tag`` alone.

        Args:
            tag: name of the embedding, a relative path.
            embedding: [rows, columns], at least one of each.
            labels: one label for each row, as an array of numbers [rows] or a list of
                values that ``str`` turns into text; or several, as an array
                [rows, columns] or a list of lists of one length. None: no labels.
            images: an image for each row, [rows, 1, 3 or 4 channels, H, W], uint8 or floats
                in [0, 1]. None: no images.
            global_step: the step. None: no step.
            labels_header: the name of each column of labels, if there are several.
                None: ``label 1``, ``label 2`` ...
            project_to: the number of columns to which PCA projects a matrix that has more.
                Above 200, the projector itself would take random directions. None: keep
                all columns.

        Raises:
            TypeError, ValueError: not as described.
        """
        tag = arguments.folder(tag)
        step = arguments.step(global_step)
        dimensions = 0
        if project_to is not None:
            dimensions = arguments.integer(project_to, "project_to", 1, None)
        matrix = capture.tensor(embedding, "embedding")
        rows = shapes.embedding(matrix)
        tensors = [matrix]
        columns = None
        if labels is not None:
            columns = label_columns.columns(labels, rows, labels_header)
            tensors.append(columns.tensor)
        elif labels_header is not None:
            raise ValueError(f"labels_header is {labels_header!r}, but there are no labels")
        if images is not None:
            tensors.append(capture.tensor(images, "images"))
            shapes.embedding_images(tensors[-1], rows)
        payload = payloads.embedding(
            tensors,
            columns=columns,
            has_images=images is not None,
            project_to=dimensions,
            has_step=global_step is not None,
        )
        self._log_summary(tag, step, payload, tensors, kind=None)

    def add_mesh(
        self,
        tag: str,
        vertices: Any,
        colors: Any = None,
        faces: Any = None,
        config_dict: Mapping[str, Any] | None = None,
        global_step: Any = None,
        *,
        walltime: float | None = None,
    ) -> None:
        """Logs a batch of meshes or point clouds.

        Args:
            tag: name of the mesh.
            vertices: [batch, n, 3], their coordinates.
            colors: [batch, n, 3], each vertex's red, green and blue, 0 to 255; or None.
            faces: [batch, m, 3], the numbers of each triangle's vertices. None: only points.
            config_dict: how to show it, a JSON object of THREE.js classes; or None.
            global_step: the step; None is 0.
            walltime: seconds since the epoch; None is now.

        Raises:
            TypeError, ValueError: not as described.
        """
        tag = arguments.tag(tag)
        step = arguments.step(global_step)
        config = "" if config_dict is None else _json(config_dict)
        tensors = {"vertices": capture.tensor(vertices, "vertices")}
        if colors is not None:
            tensors["colors"] = capture.tensor(colors, "colors")
        if faces is not None:
            tensors["faces"] = capture.tensor(faces, "faces")
        shapes.mesh(tensors)
        names = tuple(tag + _MESH_SUFFIXES[part] for part in tensors)
        self._log_summary(
            tag,
            step,
            payloads.mesh(tensors, config),
            list(tensors.values()),
            kind=SummaryKind.MESH,
            names=names,
            walltime=walltime,
        )


def _json(value: object) -> str:
    if not isinstance(value, Mapping):
        raise TypeError(f"config_dict is a {arguments.kind(value)}, expected a dict")
    try:
        return json.dumps(dict(value), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"config_dict cannot be written as JSON: {error}") from None
