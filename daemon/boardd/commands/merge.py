"""``boardd merge``: merges event files of separate ranks into a new logdir."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from boardd_protos import remote_logdir
from boardd_protos.merging import REDUCTIONS

from boardd.commands.flags import command_parser
from boardd.errors import ExitCode


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Writes the new logdir, whole or not at all. Raises ``CommandError``."""
    parser = command_parser(
        "merge",
        "Merges event files of separate ranks, whoever wrote them, into a new logdir.\n"
        "A LOGDIR that holds rank_0, rank_1, ... at any depth has those ranks; else each\n"
        "LOGDIR is one rank, rank 0 first. Inputs are only read.",
        "exit codes: 0 merged, 1 failed, 2 a wrong argument",
    )
    parser.add_argument("logdirs", metavar="LOGDIR", type=_local, nargs="+", help="event files")
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=_local,
        required=True,
        help="the new logdir, which is not there",
    )
    parser.add_argument(
        "--reduce",
        metavar="[TAGS=]HOW",
        type=_reduction,
        action="append",
        default=[],
        help="what is shown of scalars: mean, sum, min, max or last (default: what boardd's own "
        "files say, else mean); may be repeated, for instance: --reduce sum --reduce 'lr*=last'",
    )
    parser.add_argument(
        "--max-open-mib",
        metavar="MIB",
        type=_positive,
        default=1024,
        help="memory for values that wait for other ranks (default: 1024)",
    )
    options = parser.parse_args(arguments)
    from boardd.commands.progress import ProgressBar
    from boardd.merge.merge import merge
    from boardd.merge.merge_run import MergeOptions

    def show_progress(total_bytes: int) -> ProgressBar:
        return ProgressBar("boardd merge", total_bytes, "MB", 1_000_000)

    merge_options = MergeOptions(tuple(options.reduce), options.max_open_mib << 20)
    for report in merge(options.logdirs, options.out, merge_options, show_progress):
        for warning in report.warnings():
            print(f"boardd: {warning}", file=sys.stderr)
        written = options.out / report.path
        print(f"{written}: {report.points} points of {len(report.ranks)} ranks", flush=True)
    return ExitCode.OK


def _local(text: str) -> Path:
    try:
        is_remote = remote_logdir.is_remote(remote_logdir.checked(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if is_remote:
        raise argparse.ArgumentTypeError(
            f"{text!r}: local directories only are merged; copy the runs here first"
        )
    return Path(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 1 << 20:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 to 1048576")
    return int(text)


def _reduction(text: str) -> tuple[str, str]:
    """A pattern of tags, and how their scalars merge."""
    pattern, _, how = text.rpartition("=")
    if how not in REDUCTIONS:
        raise argparse.ArgumentTypeError(f"{how!r}: expected one of {', '.join(REDUCTIONS)}")
    return pattern or "*", how
