"""The networks of MXNet's model zoo: Inception-V3, ResNet-152 and VGG16, for ``filters.py``.

Their weights are files of 95 to 550 MB. Files in ``root`` are used as they are; the others are
fetched from MXNet's repository (or ``$MXNET_GLUON_REPO``). Gluon's own download has no timeout
and would hang behind a firewall that answers nothing; this one has a timeout.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

from mxnet.gluon import nn
from mxnet.gluon.model_zoo import model_store, vision

MODELS = ("inceptionv3", "resnet152_v1", "vgg16")

CHUNK_BYTES = 1 << 20


def weights_path(name: str, root: Path) -> Path:
    """Returns where MXNet keeps the weights of a model: ``<name>-<start of its SHA-1>.params``."""
    return root / f"{name}-{model_store.short_hash(name)}.params"


def fetch(name: str, root: Path, timeout_secs: float) -> None:
    """Downloads the weights of a model into ``root``.

    Raises ``OSError`` if the server does not answer within ``timeout_secs``, or then says nothing
    for as long, and ``ValueError`` if the file is not the published one.
    """
    path = weights_path(name, root)
    repository = os.environ.get("MXNET_GLUON_REPO", model_store.apache_repo_url)
    url = f"{repository.rstrip('/')}/gluon/models/{path.stem}.zip"
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"MXNET_GLUON_REPO is {repository!r}, expected an http or https address")
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as directory:
        archive = Path(directory) / "archive.zip"
        with (
            urllib.request.urlopen(url, timeout=timeout_secs) as reply,
            archive.open("wb") as file,
        ):
            shutil.copyfileobj(reply, file, CHUNK_BYTES)
        if not zipfile.is_zipfile(archive):
            raise ValueError(f"{url} is not a zip archive")
        with zipfile.ZipFile(archive) as members:
            weights = Path(members.extract(path.name, directory))
        digest = hashlib.sha1()
        with weights.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        if not digest.hexdigest().startswith(model_store.short_hash(name)):
            raise ValueError(f"{url} does not hold the published weights of {name}")
        os.replace(weights, path)


def features(root: Path, *, may_fetch: bool, timeout_secs: float) -> dict[str, nn.Block]:
    """Returns the three models, without their classes, by name; RGB goes in.

    Raises ``OSError`` if weights are missing in ``root`` and cannot be fetched, and ``ValueError``
    if the fetched files are not the published ones.
    """
    for name in MODELS:
        if not weights_path(name, root).is_file():
            if not may_fetch:
                raise FileNotFoundError(f"no weights at {weights_path(name, root)}")
            print(f"fetching the weights of {name}", flush=True)
            fetch(name, root, timeout_secs)
    models = {}
    for name in MODELS:
        model = vision.get_model(name)
        # Only first layers are used, so later ones may have another number of classes.
        model.load_parameters(str(weights_path(name, root)), allow_missing=True, ignore_extra=True)
        models[name] = model.features
    return models
