"""Both examples logged by a boardd of their own, and what TensorBoard finds afterwards.

    python examples/demo.py --logdir logs/demo

Starts boardd on a private socket, runs ``normal.py`` and ``mnist.py`` as two training processes,
ends boardd with SIGTERM, and reads the log directory back with TensorBoard's own loader. If a
process failed or a single point is missing, it says so and exits with 1.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
DEFAULT_LOGDIR = "logs/demo"
EVENT_FILES = "events.out.tfevents.*"
START_SECS = 60.0
STOP_SECS = 60.0

NORMAL_STEPS = 10
BATCHES_PER_EPOCH = 40

#: What a run gets without asking: where it came from, and after 15 s its host's metrics.
UNASKED = ("boardd/provenance", "system/")

#: Points by run and tag, each tag with the TensorBoard plugin that shows it.
Points = Mapping[str, Mapping[tuple[str, str], int]]


class DemoError(Exception):
    """The demo did not do what it promises."""


def expected_points(epochs: int) -> Points:
    """Returns what the two examples log in ``epochs`` epochs."""
    gradients = [f"mnist_dense{i}_{kind}" for i in range(3) for kind in ("bias", "weight")]
    return {
        "mnist": {
            ("cross_entropy", "scalars"): BATCHES_PER_EPOCH * epochs,
            **{(f"gradients/{name}", "histograms"): epochs for name in gradients},
            ("mnist_first_minibatch", "images"): epochs,
        },
        "mnist/accuracy_curves/train_acc": {("accuracy_curves", "scalars"): epochs},
        "mnist/accuracy_curves/valid_acc": {("accuracy_curves", "scalars"): epochs},
        "normal": {("norm_dist", "histograms"): NORMAL_STEPS},
    }


def remove_earlier_demo(logdir: Path) -> None:
    """Removes the event files of an earlier demo, so that its points do not mix with new ones."""
    for run in ("mnist", "normal"):
        for path in (logdir / run).rglob(EVENT_FILES):
            path.unlink()


@contextlib.contextmanager
def boardd(socket: Path, logdir: Path) -> Iterator[None]:
    """Runs the daemon around the body; it must end by SIGTERM with exit code 0."""
    command = Path(sysconfig.get_path("scripts")) / "boardd"
    with subprocess.Popen([command, "--socket", socket, "--logdir-root", logdir]) as process:
        try:
            deadline = time.monotonic() + START_SECS
            while not socket.exists():  # the daemon puts it in place when it serves
                if process.poll() is not None or time.monotonic() > deadline:
                    raise DemoError("boardd does not start")
                time.sleep(0.02)
            yield
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECS)
            except subprocess.TimeoutExpired:
                process.kill()
    if process.returncode != 0:
        raise DemoError(f"boardd ended with {process.returncode} after SIGTERM, not with 0")


def train(script: str, arguments: Sequence[str], socket: Path) -> None:
    """Runs one of the examples; it logs to the daemon at ``socket``."""
    environ = {**os.environ, "BOARDD_ADDRESS": f"unix:{socket}", "BOARDD_AUTOSTART": "0"}
    print(f"\n$ python examples/{script} {' '.join(arguments)}", flush=True)
    code = subprocess.run([sys.executable, EXAMPLES / script, *arguments], env=environ).returncode
    if code != 0:
        raise DemoError(f"{script} ended with exit code {code}")


def read_points(logdir: Path) -> Points:
    """Counts the points in ``logdir`` with TensorBoard's own loader."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    points: dict[str, Counter[tuple[str, str]]] = {}
    for path in sorted(logdir.rglob(EVENT_FILES)):
        counts = points.setdefault(path.parent.relative_to(logdir).as_posix(), Counter())
        plugins: dict[str, str] = {}
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                # Only the first value of a tag names its plugin.
                plugin = plugins.setdefault(value.tag, value.metadata.plugin_data.plugin_name)
                counts[value.tag, plugin] += 1
    return points


def show(logdir: Path, points: Points) -> None:
    """Prints runs, tags, points and sizes."""
    print(f"\n{logdir} holds {len(points)} runs:")
    for run, counts in sorted(points.items()):
        size_bytes = sum(path.stat().st_size for path in (logdir / run).glob(EVENT_FILES))
        print(f"\n  {run}  ({size_bytes / 1024:,.1f} KiB)")
        for (tag, plugin), count in sorted(counts.items()):
            print(f"    {tag:<32}{count:>6} {plugin}")


def check(points: Points, expected: Points) -> None:
    """Raises ``DemoError``, which names every tag whose points are not those expected.

    The log directory may hold other runs than the demo's, and each run what is logged without
    asking.
    """
    wrong = []
    for run, wanted in expected.items():
        found = points.get(run, {})
        for key in sorted({*found, *wanted}):
            if not key[0].startswith(UNASKED) and found.get(key, 0) != wanted.get(key, 0):
                wrong.append(
                    f"{run}: {key[0]} has {found.get(key, 0)} {key[1]}, not {wanted.get(key, 0)}"
                )
    if wrong:
        raise DemoError("\n  ".join(("points are missing, or too many:", *wrong)))


def demo(logdir: Path, *, epochs: int, seed: int) -> None:
    """Runs everything; raises ``DemoError`` if anything went wrong."""
    logdir.mkdir(parents=True, exist_ok=True)
    remove_earlier_demo(logdir)
    began = time.monotonic()
    # Its mode is 0700, which boardd demands of its socket's directory.
    with tempfile.TemporaryDirectory(prefix="boardd-demo-", dir="/tmp") as directory:
        socket = Path(directory) / "boardd.sock"
        with boardd(socket, logdir):
            seed_arguments = ["--seed", str(seed)]
            normal = ["--logdir", str(logdir / "normal"), "--steps", str(NORMAL_STEPS)]
            train("normal.py", [*normal, *seed_arguments], socket)
            mnist = ["--logdir", str(logdir / "mnist"), "--epochs", str(epochs)]
            train("mnist.py", [*mnist, *seed_arguments], socket)
    print(f"\nboardd has stopped; all of it took {time.monotonic() - began:.0f} s")

    points = read_points(logdir)
    show(logdir, points)
    check(points, expected_points(epochs))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Run both examples through a boardd of their own and show what it wrote.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--logdir", type=Path, default=DEFAULT_LOGDIR, help="directory of the runs")
    parser.add_argument("--epochs", type=int, default=10, help="epochs of MNIST")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers")
    options = parser.parse_args(arguments)
    try:
        demo(options.logdir, epochs=options.epochs, seed=options.seed)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    variable = "" if options.logdir == Path(DEFAULT_LOGDIR) else f" LOGDIR={options.logdir}"
    print(f"\nTo look at it in TensorBoard:\n\n  make board{variable}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
