"""The table of faults and the tests agree."""

from __future__ import annotations

import re

from tests.faults import table


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
