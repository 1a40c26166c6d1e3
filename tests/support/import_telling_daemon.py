"""A daemon that tells what it imports late: ``python -m support.import_telling_daemon``.

It loads its late modules first, and prints a line for each module that is loaded from then on.
"""

from __future__ import annotations

import sys

from boardd.cli import main
from boardd.host import late_modules


class Telling:
    """Is asked first for each module that is not loaded yet, and has none."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Prints the name; those that come after it find the module."""
        print(f"imports {name}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    late_modules.load_all()
    sys.meta_path.insert(0, Telling())  # type: ignore[arg-type]
    sys.exit(main())
