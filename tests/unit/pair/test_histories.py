"""Both ends of the record path against each other, over generated histories."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from boardd.core.session import lifecycle
from boardd_client.session import connection_state
from hypothesis import HealthCheck, Phase, example, given, settings
from support.end_pair import Answer
from support.pair_actions import (
    HELD_UP,
    Close,
    Connect,
    Cut,
    Deliver,
    DrainDaemon,
    Hear,
    History,
    KillClient,
    KillDaemon,
    LogCurves,
    LogMany,
    LogScalar,
    LogTensor,
    NoticeMaps,
    Round,
    Send,
    histories,
)
from support.pair_client import BAD_TAG

#: In the environment: the number of new histories to search, others in each run.
HISTORIES_VARIABLE = "PAIR_HISTORIES"

States = set[lifecycle.State | connection_state.State]

#: Where chance seldom leads.
BY_VALUE_WHILE_HELD = History(
    [LogScalar("a"), Connect(Answer.HESITATES), Connect(Answer.OPENS_BY_VALUE)],
    is_shareable=True,
    can_watch=True,
)
BY_VALUE_WHILE_VERIFYING = History(
    [LogScalar("a"), Connect(Answer.HESITATES), NoticeMaps(), Connect(Answer.OPENS_BY_VALUE)],
    is_shareable=True,
    can_watch=True,
)
CLOSED = History([LogScalar("a"), Round(), Close()], is_shareable=False, can_watch=True)
DRAINED = History(
    [LogScalar("a"), Connect(), DrainDaemon(), Hear(9), Cut(), LogScalar("a")],
    is_shareable=True,
    can_watch=True,
)
#: What was under way when the client opened its session anew comes too late, by value and not.
LATE = History(
    [
        LogTensor("outside", 8),
        LogScalar("a"),
        Connect(),
        Send(),
        Cut(),
        Connect(late=9),
        Hear(9),
    ],
    is_shareable=False,
    can_watch=True,
)
LATE_BEFORE_SHARING = History(
    [
        LogCurves("outside"),
        Connect(Answer.OPENS_BY_VALUE),
        Send(),
        Cut(),
        Connect(late=9),
        Hear(9),
        LogMany("outside"),
    ],
    is_shareable=True,
    can_watch=True,
)

#: One rejection on each side of a record that is not done, and the daemon is killed.
AROUND_WHAT_IS_OUT = History(
    [
        *(LogScalar("outside", BAD_TAG), LogTensor("a", 8), LogScalar("b", BAD_TAG)),
        *(Connect(), Send(400), Deliver(9), Hear(3), Hear(3), KillDaemon()),
    ],
    is_shareable=False,
    can_watch=True,
)

#: A daemon that knows nothing of a client takes it for dead, and reads its log.
TAKEN_FOR_DEAD = History(
    [KillDaemon(), LogScalar("b"), Connect(Answer.HESITATES), NoticeMaps()],
    is_shareable=True,
    can_watch=False,
)


def search(max_examples: int, *, derandomize: bool) -> States:
    """Runs histories; returns the states that were visited."""
    visited: States = set()

    @settings(
        max_examples=max_examples,
        deadline=None,
        derandomize=derandomize,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(histories)
    @example(BY_VALUE_WHILE_HELD)
    @example(BY_VALUE_WHILE_VERIFYING)
    @example(CLOSED)
    @example(DRAINED)
    @example(LATE)
    @example(LATE_BEFORE_SHARING)
    @example(AROUND_WHAT_IS_OUT)
    def run(history: History) -> None:
        visited.update(history.run().visited)

    run()
    search_held_up(max_examples // 2, derandomize=derandomize)
    return visited


def search_held_up(max_examples: int, *, derandomize: bool) -> None:
    """Runs histories that begin with a run held up, and frames of it parked."""

    @settings(
        max_examples=max_examples,
        deadline=None,
        derandomize=derandomize,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(histories)
    @example(History([KillDaemon()], is_shareable=True, can_watch=True))
    @example(History([KillDaemon()], is_shareable=False, can_watch=True))
    @example(TAKEN_FOR_DEAD)
    @example(History([KillDaemon(), KillClient()], is_shareable=True, can_watch=True))
    @example(History([KillClient(), KillDaemon()], is_shareable=True, can_watch=True))
    def run(history: History) -> None:
        replace(history, actions=[*HELD_UP, *history.actions]).run()

    run()


def test_every_accepted_record_is_written_once_or_rejected_once() -> None:
    visited = search(600, derandomize=True)
    assert visited == {*lifecycle.State, *connection_state.State}


@pytest.mark.slow
@pytest.mark.skipif(
    HISTORIES_VARIABLE not in os.environ,
    reason=f"{HISTORIES_VARIABLE} does not say how many new histories to search",
)
def test_the_same_over_ever_new_histories() -> None:
    search(int(os.environ[HISTORIES_VARIABLE]), derandomize=False)
