"""An embedding's side files, as TensorBoard's projector reads them.

The projector's data is in no event file: ``projector_config.pbtxt`` in a run's
directory names, for each embedding, files in a folder of its own::

    projector_config.pbtxt
    words_000012/tensors.bytes    float32, little-endian, row by row
    words_000012/metadata.tsv     a line for each row, and a header if there are tabs
    words_000012/sprite.png       images of all rows, tiled row by row

Folders are named as MXBoard names them. It writes the matrix as text, into
``tensors.tsv``; the projector also takes raw bytes, many times faster, but
tries text first (_serve_tensor in tensorboard/plugins/projector/
projector_plugin.py), so that bytes which happen to be valid text have to be
written as text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from boardd_protos.invalid import InvalidTensorError
from google.protobuf import text_format

from boardd.events.projector_pb2 import EmbeddingInfo, ProjectorConfig, SpriteMetadata

#: Name that TensorBoard looks for (tensorboard/plugins/projector/metadata.py).
CONFIG_NAME: Final = "projector_config.pbtxt"

TENSORS_RAW_NAME: Final = "tensors.bytes"
TENSORS_TEXT_NAME: Final = "tensors.tsv"
METADATA_NAME: Final = "metadata.tsv"
SPRITE_NAME: Final = "sprite.png"
#: All that a folder may hold.
FILE_NAMES: Final = (TENSORS_RAW_NAME, TENSORS_TEXT_NAME, METADATA_NAME, SPRITE_NAME)

#: What an empty label is written as: the projector skips blank lines, and every
#: label after one would be another row's.
EMPTY_LABEL: Final = "(empty)"

#: The first bytes, which decide if raw data can pass for text: well below the
#: 16 MiB that TensorBoard decodes at once.
_TEXT_CHECK_BYTES: Final = 1 << 20
#: Elements made text at a time: the GIL is held meanwhile.
_TEXT_ELEMENTS: Final = 4096


class ConfigError(ValueError):
    """A projector config that TensorBoard could not read either."""


@dataclasses.dataclass(frozen=True)
class EmbeddingFiles:
    """One embedding.

    ``folder`` is its directory beneath the run's and its name in the projector.
    ``tensors`` is the matrix, float32, little-endian, in C order, of ``shape``,
    rows and columns.
    ``metadata`` is what ``metadata_tsv`` returns. ``sprite`` is a PNG file that
    holds an image for each row, each of ``sprite_dims``, width and height in pixels.

    Raises ``InvalidTensorError`` for a matrix without rows or columns or whose size
    is not that of its shape, and for a sprite without dimensions.
    """

    folder: str
    tensors: bytes | memoryview
    shape: tuple[int, int]
    metadata: bytes | None = None
    sprite: bytes | None = None
    sprite_dims: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        rows, columns = self.shape
        size_bytes = memoryview(self.tensors).nbytes
        if rows < 1 or columns < 1 or size_bytes != 4 * rows * columns:
            raise InvalidTensorError(
                f"embedding {self.folder!r}: {size_bytes} bytes for shape {self.shape} of float32"
            )
        if (self.sprite is None) != (self.sprite_dims is None):
            raise InvalidTensorError(
                f"embedding {self.folder!r}: a sprite and its dimensions go along"
            )

    def contents(self) -> dict[str, bytes | memoryview]:
        """Returns the files of the folder, by name, in the order to write them."""
        if reads_as_text(self.tensors):
            files: dict[str, bytes | memoryview] = {
                TENSORS_TEXT_NAME: tensors_tsv(self.tensors, self.shape)
            }
        else:
            files = {TENSORS_RAW_NAME: self.tensors}
        if self.metadata is not None:
            files[METADATA_NAME] = self.metadata
        if self.sprite is not None:
            files[SPRITE_NAME] = self.sprite
        return files


def embedding_folder(tag: str, step: int | None) -> str:
    """Returns MXBoard's name for the folder of ``tag`` at ``step``, None for no step."""
    return tag if step is None else f"{tag}_{str(step).zfill(6)}"


def metadata_tsv(rows: Iterable[Sequence[str]], header: Sequence[str] = ()) -> bytes:
    """Returns a metadata file: a line for each row of the embedding.

    One column has no header, several have one; the projector tells by tabs in
    the first line. White space that would end a field or a line becomes a space,
    and a line that would be blank gets ``EMPTY_LABEL``, since the projector
    skips those.

    Raises ``InvalidTensorError`` on a row that has another number of columns than
    the first, several columns with fewer or more names in ``header``, an empty
    or repeated name, and a lone surrogate, which UTF-8 cannot hold.
    """
    lines = []
    count = len(header)
    names = [_field(name) for name in header]
    for number, row in enumerate(rows):
        if number == 0 and count <= 1:
            count = len(row)
        if len(row) != count or not count:
            raise InvalidTensorError(
                f"row {number} of the metadata has {len(row)} columns, not {count}"
            )
        fields = [_field(text) for text in row]
        if not any(map(_is_visible, fields)):
            fields[0] = EMPTY_LABEL
        lines.append("\t".join(fields))
    if count > 1:
        if len(names) != count or not all(map(_is_visible, names)) or len(set(names)) < count:
            raise InvalidTensorError(
                f"metadata of {count} columns with the header {list(header)}; "
                "give each column a name of its own"
            )
        lines.insert(0, "\t".join(names))
    try:
        return "".join(line + "\n" for line in lines).encode()
    except UnicodeEncodeError as error:
        raise InvalidTensorError(f"metadata that is not Unicode text: {error}") from error


def _field(text: str) -> str:
    if text.isprintable():  # no line breaks, no tabs
        return text
    return "".join(" " if _breaks(character) else character for character in text)


def _breaks(character: str) -> bool:
    return character in "\t\0" or character.splitlines() == [""]


def _is_visible(text: str) -> bool:
    # JavaScript's trim, which the projector uses, takes byte order marks too.
    return bool(text.replace("\ufeff", "").strip())


def reads_as_text(tensors: bytes | memoryview) -> bool:
    """Returns whether TensorBoard would try to read a raw matrix as text.

    It reads UTF-8 line by line and takes the file for raw bytes at the first
    that is none, which must come before the first line is complete: a line that
    can be decoded has to be of numbers. Nearly every matrix fulfils that within
    a few bytes; one of zeros does not.
    """
    head = bytes(memoryview(tensors).cast("B")[:_TEXT_CHECK_BYTES])
    line, newline, _ = head.lstrip(b"\n").partition(b"\n")
    try:
        line.decode()
    except UnicodeDecodeError as error:
        # A character that the head cuts in two may go on well.
        is_cut = error.end == len(line) and not newline and len(head) == _TEXT_CHECK_BYTES
        return is_cut and error.reason == "unexpected end of data"
    return True


def tensors_tsv(tensors: bytes | memoryview, shape: tuple[int, int]) -> bytes:
    """Returns the matrix as text that reads back as the same float32."""
    matrix = np.frombuffer(tensors, "<f4").reshape(shape)
    row = "\t".join(["%.9g"] * shape[1]) + "\n"
    lines = []
    rows = max(1, _TEXT_ELEMENTS // shape[1])
    for start in range(0, len(matrix), rows):
        block = matrix[start : start + rows]
        lines.append(row * len(block) % tuple(block.reshape(-1).tolist()))
    return "".join(lines).encode("ascii")


def config_entry(files: EmbeddingFiles, folder: str, names: Iterable[str]) -> EmbeddingInfo:
    """Returns the config's entry for ``files``, which lie in ``folder`` as ``names``."""
    present = set(names)
    entry = EmbeddingInfo(tensor_name=folder, tensor_shape=files.shape)
    tensors = TENSORS_TEXT_NAME if TENSORS_TEXT_NAME in present else TENSORS_RAW_NAME
    entry.tensor_path = f"{folder}/{tensors}"
    if METADATA_NAME in present:
        entry.metadata_path = f"{folder}/{METADATA_NAME}"
    if SPRITE_NAME in present:
        entry.sprite.CopyFrom(
            SpriteMetadata(image_path=f"{folder}/{SPRITE_NAME}", single_image_dim=files.sprite_dims)
        )
    return entry


def entry_paths(entry: EmbeddingInfo) -> list[str]:
    """Returns the files that an entry names."""
    paths = (
        entry.tensor_path,
        entry.metadata_path,
        entry.sprite.image_path,
        entry.bookmarks_path,
    )
    return [path for path in paths if path]


def is_of_folder(entry: EmbeddingInfo, folder: str) -> bool:
    """Returns whether writing ``folder`` anew would change what ``entry`` shows."""
    return entry.tensor_name == folder or any(
        path.rpartition("/")[0] == folder for path in entry_paths(entry)
    )


def parse_config(text: bytes) -> ProjectorConfig:
    """Returns the config in ``text``. Raises ``ConfigError`` if it is none."""
    try:
        config: ProjectorConfig = text_format.Parse(text.decode(), ProjectorConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ConfigError(str(error)) from error
    return config


def format_config(config: ProjectorConfig) -> bytes:
    """Returns the text of a config."""
    text: str = text_format.MessageToString(config, as_utf8=True)
    return text.encode()
