"""Trains a net with one logger and without, in turn, and prints what each block cost as JSON.

    python -m sustained.training_worker LOGGER NET PLACEMENT ROOT --blocks N --block-secs S

``ROOT/digits.npz`` holds the digits. Blocks go: no logging, the loss, no
logging, the loss and the gradients, no logging, the loss ... so that each has
blocks without logging as neighbours, and a machine that slows down slows down
both. A block trains for ``S`` seconds, in whole steps, until all is computed.
Its writer is opened before it, and closed after it when everything is written.
Neither is timed, but both are in the block's CPU time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import time
from pathlib import Path
from typing import Any

from sustained import digits, placement

LOSS = "training/loss"
GRADIENTS = "gradients/"

#: What is logged at every step.
VARIANTS = ("loss", "gradients")

WARM_UP_STEPS = 30

#: wandb's service still writes when its run has finished.
SETTLE_SECS = 20.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("logger")
    parser.add_argument("net")
    parser.add_argument("placement", choices=placement.PLACEMENTS)
    parser.add_argument("root", type=Path)
    parser.add_argument("--blocks", type=int, required=True, help="of each variant")
    parser.add_argument("--block-secs", type=float, required=True)
    arguments = parser.parse_args()

    # Libraries count the cores when they are imported.
    cores = placement.place_training(arguments.placement)
    from sustained.loggers import LoopLogger
    from sustained.nets import Loop

    loop = Loop(arguments.net, digits.load(arguments.root / "digits.npz"))
    logger = LoopLogger(arguments.logger)
    logger.start(arguments.root)
    try:
        trainer = Trainer(loop, logger, arguments.root)
        # This includes all that a logger imports, compiles and starts at its first records.
        trainer.block("gradients", 0.0)
        placement.place_started(cores)
        trainer.block("gradients", 0.0)
        trainer.block("none", arguments.block_secs)
        blocks = [trainer.block("none", arguments.block_secs)]
        for variant in itertools.chain.from_iterable(itertools.repeat(VARIANTS, arguments.blocks)):
            blocks.append(trainer.block(variant, arguments.block_secs))
            blocks.append(trainer.block("none", arguments.block_secs))
    finally:
        logger.stop()
    print(json.dumps({"blocks": blocks, "versions": logger.peer.versions()}))


class Trainer:
    """Makes blocks of steps."""

    def __init__(self, loop: Any, logger: Any, root: Path) -> None:
        self._loop = loop
        self._gradients = {GRADIENTS + name: array for name, array in loop.gradients.items()}
        self._logger = logger
        self._root = root

    def block(self, variant: str, secs: float) -> dict[str, Any]:
        """Trains for ``secs``, or for ``WARM_UP_STEPS`` steps if that is longer.

        ``variant`` is ``none`` or one of ``VARIANTS``. Raises ``RuntimeError`` when
        the files lack a record that was not counted as dropped.
        """
        from comparison.processes import CpuMeter

        logdir = self._root / "run"
        log = {"none": _nothing, "loss": self._log_loss, "gradients": self._log_gradients}[variant]
        self._loop.wait()
        meter = CpuMeter()
        if variant != "none":
            self._logger.open(logdir)
        step = self._loop.step
        clock = time.perf_counter
        steps = 0
        begin = now = clock()
        while now - begin < secs or steps < WARM_UP_STEPS:
            loss = step()
            log(loss, steps)
            steps += 1
            now = clock()
        self._loop.wait()
        trained = clock()
        counts: dict[str, Any] = self._logger.close() if variant != "none" else {}
        closed = clock()
        result = {
            "variant": variant,
            "steps": steps,
            "step_secs": (trained - begin) / steps,
            "close_secs": closed - trained,
            "cpu_secs_per_step": meter.elapsed_ns() / 1e9 / steps,
        }
        if variant != "none":
            result["logged"] = steps * (len(self._loop.gradients) * (variant == "gradients") + 1)
            result["dropped"] = counts.get("dropped", {})
            if self._logger.is_logger:
                self._check(logdir, result)
            shutil.rmtree(logdir, ignore_errors=True)
        return result

    def _log_loss(self, loss: Any, step: int) -> None:
        self._logger.scalar(LOSS, loss, step)

    def _log_gradients(self, loss: Any, step: int) -> None:
        self._logger.scalar(LOSS, loss, step)
        self._logger.histograms(self._gradients, step)

    def _check(self, logdir: Path, result: dict[str, Any]) -> None:
        peer = self._logger.peer
        # What is logged together is dropped together, and counted once.
        dropped = sum(result["dropped"].values())
        most = result["logged"] - dropped
        least = result["logged"] - dropped * len(self._gradients)
        deadline = time.monotonic() + SETTLE_SECS
        while True:
            written = {
                LOSS: peer.written(logdir, LOSS, "scalar"),
                GRADIENTS: peer.written(logdir, GRADIENTS, "histogram"),
            }
            if least <= sum(written.values()) <= most:
                result["written"] = written
                return
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"logged {result['logged']} records, dropped {result['dropped']}, "
                    f"in the files {written}"
                )
            time.sleep(0.1)


def _nothing(loss: Any, step: int) -> None:
    """Logs nothing."""


if __name__ == "__main__":
    main()
