"""Daemons and trainers that are killed, one after the other, and what must be left of them."""

from __future__ import annotations

import contextlib
import os
import random
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from boardd_protos.log_directory import log_directories

from support.daemon_process import DaemonProcess
from support.independent_reader import run_events
from support.nursery import Forked, nurseries
from support.tortured_trainer import HISTOGRAM_STEPS, HISTOGRAM_SUFFIX, Told, records, told
from support.transports import SETTINGS, VARIABLE
from support.waiting import wait_until

#: What a client that is gone keeps its session by, if it sent by value.
LEASE_SECS: Final = 3
WAIT_SECS: Final = 180.0


class Life(NamedTuple):
    """One trainer, from its start to its end."""

    transport: str
    tag: str
    process: Forked


class Rig:
    """A daemon, and a trainer for each transport; whichever is killed is followed by another.

    ``logdir``, which lies in ``logs`` or is that, gets a run for each transport, named as that
    is. A context manager, which ends whatever is left.
    """

    def __init__(
        self, tmp_path: Path, socket: Path, chance: random.Random, logdir: str = "logs"
    ) -> None:
        self.logdir = tmp_path / logdir
        self._tmp_path, self._socket, self._chance = tmp_path, socket, chance
        self._notes = tmp_path / "notes"
        self._stack = ExitStack()
        self.lives: list[Life] = []
        self.killed = {"daemon": 0, "trainer": 0}
        self.daemon: DaemonProcess
        self._trainers: dict[str, Life] = {}

    def __enter__(self) -> Rig:
        self._notes.mkdir()
        with ExitStack() as stack:
            self._forks = stack.enter_context(nurseries())
            stack.callback(self._forget_daemon)
            self._begin_daemon(wait=True)
            for transport in SETTINGS:
                self._begin_trainer(transport)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run_of(self, transport: str) -> Path:
        """The directory of a transport's run."""
        return self.logdir / transport.replace(" ", "_")

    def told(self, life: Life) -> Told:
        """What the trainer said last."""
        return told(self._notes, life.tag)

    def progress(self, steps: int, transport: str) -> None:
        """Waits until a trainer has logged so many more steps."""
        life = self._trainers[transport]
        until = self.told(life).steps + steps
        wait_until(lambda: self.told(life).steps >= until, f"{life.tag} at {until}", WAIT_SECS)

    def kill(self, victims: str, transport: str) -> None:
        """Kills the ``daemon``, the ``trainer`` of ``transport``, or ``both``, and goes on."""
        life = self._trainers[transport]
        if victims != "trainer":
            self.daemon.kill()
            self.killed["daemon"] += 1
        if victims != "daemon":
            life.process.kill()
            life.process.wait()
            self.killed["trainer"] += 1
            self._begin_trainer(transport)
        if victims != "trainer":
            self._forget_daemon()
            # Some are killed before they serve.
            self._begin_daemon(wait=self._chance.random() < 0.8)

    def end(self) -> None:
        """Lets the trainers end as they should, and the daemon write all that is left."""
        self.daemon.wait_ready()
        for life in self._trainers.values():
            (self._notes / f"{life.tag}.end").touch()
        for life in self._trainers.values():
            code = life.process.wait(WAIT_SECS)
            assert code == 0, (life.tag, code, self.daemon.log)
        wait_until(self._is_all_written, "all is written", WAIT_SECS)

    def judge(self) -> int:
        """Checks that all that was logged is there once, in order; returns how many scalars."""
        return sum(self._judge_run(transport) for transport in SETTINGS)

    def _judge_run(self, transport: str) -> int:
        scalars, histograms = defaultdict(list), defaultdict(list)
        for event in run_events(self.run_of(transport)):
            for value in event.values:
                if value.tag.endswith(HISTOGRAM_SUFFIX):
                    histograms[value.tag.removesuffix(HISTOGRAM_SUFFIX)].append(event.step)
                else:
                    scalars[value.tag].append((event.step, value.simple_value))
        lives = [life for life in self.lives if life.transport == transport]
        assert scalars.keys() | histograms.keys() <= {life.tag for life in lives}
        for life in lives:
            self._judge_life(life, scalars[life.tag], histograms[life.tag])
        return sum(map(len, scalars.values()))

    def _judge_life(
        self, life: Life, scalars: list[tuple[int, float]], histograms: list[int]
    ) -> None:
        count = len(scalars)
        assert scalars == [(step, step / 2) for step in range(count)], life.tag
        steps, written = self.told(life)
        every = list(range(0, count, HISTOGRAM_STEPS))
        if life is self._trainers[life.transport]:  # the last one was not killed
            assert (count, histograms) == (steps, every), life.tag
            return
        # Killed between the call and what it told of it.
        assert count <= steps + 1, (life.tag, count, steps)
        if life.transport == "shared":
            assert count >= steps, (life.tag, count, steps)
        else:
            assert records(count) >= written, (life.tag, count, written)
        # Of a tensor that no daemon had yet, nothing is left of a killed trainer.
        assert histograms == sorted(set(histograms) & set(every)), life.tag

    def _is_all_written(self) -> bool:
        logs = [path for place in log_directories(self._socket) for path in place.glob("*")]
        return not logs and not self.daemon.status().sessions

    def _begin_daemon(self, *, wait: bool) -> None:
        self.daemon = DaemonProcess(
            self._tmp_path,
            *("--lease-secs", str(LEASE_SECS)),
            socket=self._socket,
            popen=self._forks.daemons.popen,
            wait=wait,
        )

    def _forget_daemon(self) -> None:
        with contextlib.suppress(AttributeError):
            self.daemon.close()

    def _begin_trainer(self, transport: str) -> None:
        tag = f"life{len(self.lives)}"
        run = self.run_of(transport)
        process = self._forks.clients.popen(
            ["", "-m", "support.tortured_trainer", str(run), tag, str(self._notes)],
            env={
                **os.environ,
                VARIABLE: SETTINGS[transport],
                "BOARDD_ADDRESS": f"unix:{self._socket}",
                "BOARDD_AUTOSTART": "0",
            },
        )
        self._trainers[transport] = Life(transport, tag, process)
        self.lives.append(self._trainers[transport])
