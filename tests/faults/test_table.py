"""The table of faults and the tests agree."""

from __future__ import annotations

import re
from pathlib import Path

from tests.faults import table
from tests.faults.campaign import Campaign


def test_every_fault_has_a_test_and_every_test_names_its_faults() -> None:
    assert {fault.id for fault in table.faults()} == {id for id, _ in table.tests()}


def test_every_test_of_a_fault_is_marked() -> None:
    """A test without a mark would show something that the table does not promise."""
    marked = {test for _, test in table.tests()}
    for file in table.HERE.glob("test_*.py"):
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text("utf-8"), re.MULTILINE):
            assert f"{file.name}::{name}" in marked or file.name == "test_table.py", f"{file.name}::{name}"


def test_a_fault_is_told_in_four_short_words() -> None:
    rows = table.faults()
    assert len({fault.id for fault in rows}) == len(rows)
    for fault in rows:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", fault.id), fault.id
        for text in fault[1:]:
            assert text == text.strip(), fault.id
            assert 0 < len(text) <= 220, fault.id
            assert not text.endswith("."), fault.id


PHASES = ("setup", "call", "teardown")


def a_run(id: str) -> Campaign:
    """Which expects two cases of each test that names a fault."""
    run = Campaign("abc1234")
    for _, test in [row for row in table.tests() if row[0] == id]:
        for case in ("a", "b"):
            run.expect(case, test, id)
    return run


def went(run: Campaign, case: str, failing: str = "") -> None:
    for phase in PHASES:
        if failing != "setup" or phase != "call":
            run.saw(case, phase, phase != failing)


def test_an_outcome_counts_when_every_case_has_run_to_its_end() -> None:
    run = a_run("clock-2020")
    went(run, "a")
    run.saw("b", "setup", True)
    run.saw("b", "teardown", True)
    assert run.came() == {}
    run.saw("b", "call", True)
    assert run.came() == {}
    run.saw("b", "teardown", True)
    assert run.came() == {"clock-2020": "passed at abc1234"}
    run.leave_out("clock-2020")
    assert run.came() == {}


def test_a_case_that_fails_in_any_phase_has_failed() -> None:
    for phase in PHASES:
        run = a_run("clock-2020")
        went(run, "a")
        went(run, "b", failing=phase)
        assert run.came() == {"clock-2020": "failed at abc1234"}


def test_a_fault_of_which_a_test_was_not_there_has_no_outcome() -> None:
    run = Campaign("abc1234")
    run.expect("a", "test_clock.py::test_of_another_name", "clock-2020")
    went(run, "a")
    assert run.came() == {}


def test_a_run_of_some_faults_leaves_the_outcomes_of_others(tmp_path: Path) -> None:
    file = tmp_path / "outcomes.toml"
    table.note({"clock-2020": "passed at 1", "clock-2099": "failed at 1", "of-another-time": "passed at 1"}, file)
    table.note({"clock-2099": "passed at 2"}, file)
    table.note({}, file)
    assert table.outcomes(file) == {"clock-2020": "passed at 1", "clock-2099": "passed at 2"}
