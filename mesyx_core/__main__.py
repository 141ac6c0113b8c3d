"""`mesyx` and `python -m mesyx_core`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and leave with its exit code (see `mesyx_core.cli.exits`)."""
    occupy_standard_files()
    from mesyx_core.cli.app import run

    sys.exit(run(sys.argv[1:]))


def occupy_standard_files() -> None:
    """Where one of the three is closed, the next file or connection would take its number, and get what a library
    writes for people; libuv ends the process instead.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(handle)


if __name__ == "__main__":
    main()
