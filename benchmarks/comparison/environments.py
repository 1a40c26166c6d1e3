"""One virtual environment for each peer, because their requirements contradict each other."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

#: What MXNet 1.9.1 runs on; newer NumPy lacks ``np.bool``.
MXNET = ("mxnet==1.9.1", "numpy==1.23.5")


@dataclass(frozen=True)
class Environment:
    """A virtual environment, named after what it is for, with pinned requirements."""

    name: str
    requirements: tuple[str, ...]

    @property
    def directory(self) -> Path:
        """Where the environment lies; git ignores it."""
        return REPOSITORY / f".venv-bench-{self.name}"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.directory / "bin" / "python"

    def ensure(self) -> Path:
        """Builds the environment unless it is there as required; returns its interpreter.

        Raises ``subprocess.CalledProcessError`` when pip fails.
        """
        # An environment with this project in it needs what the project needs by now.
        own = (REPOSITORY / "pyproject.toml").read_text() if "-e" in self.requirements else ""
        wanted = hashlib.sha256(
            "\n".join((sys.version, *self.requirements, own)).encode()
        ).hexdigest()
        stamp = self.directory / "requirements.sha256"
        if stamp.exists() and stamp.read_text() == wanted:
            return self.python
        print(f"building {self.directory.name}: {' '.join(self.requirements)}", file=sys.stderr)
        shutil.rmtree(self.directory, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(self.directory)], check=True)
        subprocess.run(
            [
                str(self.python),
                *("-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
                *self.requirements,
            ],
            check=True,
            cwd=REPOSITORY,
        )
        stamp.write_text(wanted)
        return self.python


BOARDD = Environment("boardd", ("-e", ".[daemon,mxnet]", "numpy==1.23.5"))
#: protobuf from 4 on refuses the code that MXBoard was generated with.
MXBOARD = Environment(
    "mxboard", ("mxboard==0.1.0", *MXNET, "protobuf==3.20.3", "pillow==13.0.0", "setuptools<81")
)
TENSORBOARDX = Environment(
    "tensorboardx", ("tensorboardX==2.6.5", *MXNET, "protobuf==7.36.2", "pillow==13.0.0")
)
TORCH = Environment(
    "torch",
    ("torch==2.13.0", "tensorboard==2.21.0", "numpy==2.4.6", "pillow==13.0.0", "setuptools<81"),
)
#: Neither asks for a NumPy of its own, so MXNet's serves and NDArrays can be converted.
WANDB = Environment("wandb", ("wandb==0.31.0", *MXNET, "protobuf==7.36.2", "pillow==13.0.0"))
AIM = Environment("aim", ("aim==3.29.1", *MXNET, "pillow==13.0.0"))
#: CLU cannot be imported without TensorFlow and JAX; its writers are TensorFlow's and torch's.
CLU = Environment(
    "clu",
    (
        *("clu==0.0.12", "tensorflow-cpu==2.21.0", "torch==2.13.0", "tensorboard==2.21.0"),
        *("jax==0.10.2", "flax==0.12.8", "numpy==2.4.6", "protobuf==7.36.2", "pillow==13.0.0"),
        "setuptools<81",
    ),
)
RERUN = Environment("rerun", ("rerun-sdk==0.41.0", "numpy==2.4.6", "pillow==13.0.0"))
