"""Importing it loads all that a daemon may need, as a daemon itself does after a while.

A ``Nursery`` imports it: the daemons that it forks load nothing at all.
"""

from __future__ import annotations

import boardd.cli
import boardd.host.daemon  # noqa: F401
from boardd.host import late_modules

late_modules.load_all()
