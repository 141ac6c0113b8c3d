"""The forms of the log."""

from __future__ import annotations

import json
import logging
import sys

from mesyx_core.node.logs import Journal, Json, Text

RECORD = logging.LogRecord("mesyx_core.node", logging.WARNING, "", 0, "a store is %s\nor not", ("locked",), None)


def test_a_record_is_one_line_of_json() -> None:
    text = Json().format(RECORD)
    assert "\n" not in text
    value = json.loads(text)
    assert value.pop("time").endswith("+00:00")
    assert value == {"level": "warning", "logger": "mesyx_core.node", "message": "a store is locked\nor not"}


def test_the_journal_is_told_how_grave_it_is_in_one_line() -> None:
    assert Journal().format(RECORD) == "<4>mesyx_core.node: a store is locked or not"


def test_no_form_says_what_an_exception_quotes() -> None:
    try:
        raise ValueError("the words of a message")
    except ValueError:
        record = logging.LogRecord("library", logging.ERROR, "", 0, "failed\nhere", (), sys.exc_info())
    for form in (Text(), Json(), Journal()):
        said = form.format(record)
        assert "words" not in said
        assert "\n" not in said
    assert Text().format(record).endswith(" ERROR library: failed here")
