"""Writes down the outcome of every fault when the whole campaign has run in its full form."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults import FULL, table

_seen: dict[str, bool] = {}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = (yield).get_result()
    for mark in item.iter_markers("fault"):
        for id in mark.args:
            _seen[id] = _seen.get(id, True) and not report.failed


def pytest_sessionfinish() -> None:
    if FULL and _seen.keys() == {fault.id for fault in table.faults()}:
        lines = [f'{id} = "{"passed" if good else "failed"}"' for id, good in sorted(_seen.items())]
        table.OUTCOMES.write_text("# written by nox -s faults\n" + "\n".join(lines) + "\n", "utf-8")
