"""What a run of tests says of the faults."""

from __future__ import annotations

import subprocess

from tests.faults import table


def commit() -> str:
    """What is tried."""
    what = ["--", "mesyx_core", "plugins", "tests", f":!{table.OUTCOMES.relative_to(table.HERE.parents[1])}"]
    try:
        [name, changed] = [
            subprocess.run(
                ["git", *words], cwd=table.HERE.parents[1], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "--short=7", "HEAD"], ["status", "--porcelain", "--untracked-files=no", *what])
        ]
    except (OSError, subprocess.CalledProcessError):
        return "an unknown commit"
    return f"{name} with changes" if changed else name


class Campaign:
    """One run of tests. A fault's outcome counts when every case of every test that names it has run to its end."""

    def __init__(self, commit: str) -> None:
        self._commit = commit
        self._cases: dict[str, set[str]] = {}
        self._tests: set[tuple[str, str]] = set()
        self._left_out: set[str] = set()
        self._called: set[str] = set()
        self._ended: set[str] = set()
        self._failed: set[str] = set()

    def expect(self, case: str, test: str, *ids: str) -> None:
        """A case of FILE::TEST is going to run, which shows these faults."""
        for id in ids:
            self._cases.setdefault(id, set()).add(case)
            self._tests.add((id, test))

    def leave_out(self, *ids: str) -> None:
        """Some case of them will not run."""
        self._left_out.update(ids)

    def saw(self, case: str, phase: str, passed: bool) -> None:
        """The `setup` of a case, its `call`, its `teardown`. One that was set up and not called tells nothing."""
        if not passed:
            self._failed.add(case)
        if phase == "call":
            self._called.add(case)
        if phase == "teardown" and case in self._called | self._failed:
            self._ended.add(case)

    def came(self) -> dict[str, str]:
        """By id."""
        missing = {id for id, test in table.tests() if (id, test) not in self._tests}
        return {
            id: f"{'failed' if cases & self._failed else 'passed'} at {self._commit}"
            for id, cases in self._cases.items()
            if cases <= self._ended and id not in self._left_out | missing
        }
