"""`mesyx` and `python -m mesyx_core`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit code (see `mesyx_core.cli.exits`)."""
    from mesyx_core.cli.app import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
