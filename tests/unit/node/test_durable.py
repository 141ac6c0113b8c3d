"""Small files and their folders."""

from __future__ import annotations

import os
from pathlib import Path

from mesyx_core.node import durable


def test_no_folder_that_is_made_on_the_way_can_be_read_by_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        for _ in range(2):
            durable.make_folder(tmp_path / "keys" / "store" / "one")
    finally:
        os.umask(before)
    made = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert len(made) == 3
    assert {path.stat().st_mode & 0o777 for path in made} == {0o700}
