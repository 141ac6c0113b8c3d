"""The folder of a backup: whose it is, and what a crash may leave in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mesyx_core.api import Refused, Temporary
from mesyx_core.node import backup


def test_what_a_crash_leaves_keeps_no_later_backup_from_being_made(tmp_path: Path) -> None:
    for name in (backup.SEALED, backup.ABOUT):
        (tmp_path / f"{name}.new").write_bytes(b"half")
    with backup.held(tmp_path):
        backup.seal_up(tmp_path, b"sealed")
        backup.finish(tmp_path, {"version": backup.VERSION, "node": "aa"})
    assert {each.name for each in tmp_path.iterdir()} == {backup.SEALED, backup.ABOUT, "lock"}


def test_another_nodes_backup_is_not_written_over(tmp_path: Path) -> None:
    backup.renewable(tmp_path, "aa")
    backup.finish(tmp_path, {"version": backup.VERSION, "node": "aa"})
    backup.renewable(tmp_path, "aa")
    with pytest.raises(Refused, match="another node"):
        backup.renewable(tmp_path, "bb")


def test_a_key_that_is_gone_is_overwritten_in_the_backup(tmp_path: Path) -> None:
    source, target = tmp_path / "keys", tmp_path / "backup"
    (source / "store.keys").mkdir(parents=True)
    (source / "store.keys" / "a.age").write_bytes(b"a sealed key")
    backup.mirror(source, target)
    os.link(target / "store.keys" / "a.age", tmp_path / "its blocks")
    (source / "store.keys" / "a.age").unlink()
    backup.mirror(source, target)
    assert not [path for path in target.rglob("*") if path.is_file()]
    assert (tmp_path / "its blocks").read_bytes() != b"a sealed key"


def test_keys_that_are_all_gone_at_once_stay_in_the_backup(tmp_path: Path) -> None:
    source, target = tmp_path / "keys", tmp_path / "backup"
    source.mkdir()
    (source / "store.age").write_bytes(b"sealed")
    backup.mirror(source, target)
    (source / "store.age").unlink()
    source.rmdir()
    with pytest.raises(Temporary, match="is not there"):
        backup.mirror(source, target)
    assert (target / "store.age").read_bytes() == b"sealed"
