"""The bounds that the docs name are those of the code."""

from __future__ import annotations

from pathlib import Path

from mesyx_core.exchange import flow, frames
from mesyx_core.journal import database
from mesyx_core.mailbox import reading, seeds, storage
from mesyx_core.pipeline import body

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "resources.md"


def test_the_page_about_memory_and_disk_names_the_bounds_of_the_code() -> None:
    page = PAGE.read_text()
    assert (database.READERS, storage._READERS) == (4, 4)
    for words in (
        "2 for each of four that read",
        "8 MiB for each of five connections to a file",
        f"{storage.CACHES >> 20} MiB for all files together",
        f"{reading.KEPT >> 20} MiB a store",
        f"bodies of up to {reading._SMALL >> 10} KiB",
        f"{seeds._HELD:,} a store",
        f"{flow.WINDOW >> 20} MiB sent and not yet confirmed",
        f"{frames.MAX_FRAME >> 20} MiB a frame",
        f"up to {body.INLINE >> 10} KiB in the database",
    ):
        assert words in page, words
