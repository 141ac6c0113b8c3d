"""Writes down what came of each fault whose tests have all run here in their full form: the campaign may run in parts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults import campaign, table
from tests.faults.marks import FULL

_campaign = pytest.StashKey[campaign.Campaign]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_campaign] = campaign.Campaign(campaign.commit() if FULL else "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every place of a fault takes its time, and on a busy machine far more."""
    if FULL:
        for item in items:
            item.add_marker(pytest.mark.timeout(3600), append=False)


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        item.config.stash[_campaign].leave_out(*named(item))


def pytest_collection_finish(session: pytest.Session) -> None:
    for item in session.items:
        session.config.stash[_campaign].expect(
            item.nodeid, f"{item.path.name}::{getattr(item, 'originalname', '')}", *named(item)
        )
    if any("::" in argument for argument in session.config.args):  # which of a test's cases were named, nobody says
        session.config.stash[_campaign].leave_out(*(fault.id for fault in table.faults()))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = (yield).get_result()
    item.config.stash[_campaign].saw(item.nodeid, report.when, report.passed)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if FULL:
        table.note(session.config.stash[_campaign].came())


def named(item: pytest.Item) -> list[str]:
    """The faults that its test shows."""
    return [id for mark in item.iter_markers("fault") for id in mark.args]
