"""Whatever a node warns of is named in the docs, and the docs name nothing else."""

from __future__ import annotations

import re

from tests.docs.said import ROOT, said

DOCS = ROOT / "docs" / "reference" / "messages.md"


def test_every_warning_and_finding_is_in_the_docs_and_no_other() -> None:
    named = set(re.findall(r"^\| `([^`]+)` \|", DOCS.read_text(), re.MULTILINE))
    spoken = dict(said())
    assert {text: file for text, file in spoken.items() if text not in named} == {}
    assert named - spoken.keys() == set()
