"""Every variable that the client reads is in the user's table, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import boardd_client
from boardd.settings.config import OPTIONS
from boardd_client.transport.daemon_environment import daemon_environment

VARIABLE = re.compile(r"\bBOARDD_[A-Z_]+\b")
DOCUMENT = Path(__file__).parents[3] / "docs" / "settings.md"


#: What means the same to the client and to a daemon.
FOR_BOTH = {"BOARDD_TOKEN_FILE"}


def test_the_table_lists_what_the_client_reads() -> None:
    sources = Path(boardd_client.__file__).parent.rglob("*.py")
    read = {name for source in sources for name in VARIABLE.findall(source.read_text())}
    # A daemon that the client starts gets some of its own, or is to get none of them.
    daemons = {option.variable for option in OPTIONS} - FOR_BOTH
    documented = set(VARIABLE.findall(DOCUMENT.read_text()))
    assert read - daemons == documented


#: What an autostarted daemon takes from no variable: where it serves and how it is started is
#: said by flags, and it never listens to other hosts.
NOT_FOR_AUTOSTARTED = {
    *("BOARDD_SOCKET", "BOARDD_LOGDIR_ROOT", "BOARDD_AUTOSTARTED"),
    *("BOARDD_METRICS", "BOARDD_LISTEN", "BOARDD_TOKEN_FILE", "BOARDD_TLS_CERT", "BOARDD_TLS_KEY"),
    *("BOARDD_FORWARD_TO", "BOARDD_FORWARD_CA", "BOARDD_FORWARD_TOKEN_FILE"),
    *("BOARDD_TLS_CLIENT_CA", "BOARDD_FORWARD_CERT", "BOARDD_FORWARD_KEY"),
    *("BOARDD_MAX_FORWARD_BYTES", "BOARDD_HOST_SECS"),
}


def test_an_autostarted_daemon_gets_every_other_setting() -> None:
    settings = {option.variable for option in OPTIONS}
    taken = {name for name in daemon_environment(dict.fromkeys(settings, "1")) if name in settings}
    assert taken == settings - NOT_FOR_AUTOSTARTED
