"""A backup put back: durable when it is said to be, and refused before anything is made."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mesyx_core.api import Misconfigured
from mesyx_core.node import backup
from mesyx_core.node.progress import quietly
from mesyx_core.node.restore import restore
from mesyx_core.vault import age

KEY = age.generate(hybrid=False)
CONFIG = b'[node]\nname = "mx1"\nroles = ["accept"]\n'


def taken(folder: Path, config: bytes = CONFIG) -> Path:
    """A backup, as far as `restore` looks at it."""
    (folder / "blobs").mkdir(parents=True)
    (folder / "keys").mkdir()
    (folder / "blobs" / ("ab" * 32)).write_bytes(b"ciphertext")
    (folder / "blobs" / f"{'cd' * 32}.new").write_bytes(b"cut off")
    (folder / backup.DATABASE).write_bytes(b"entries")
    kept = backup.Kept(config, {backup.KEY: b"the node's key"})
    (folder / backup.SEALED).write_bytes(age.encrypt(kept.encode(), [KEY.recipient]))
    (folder / backup.ABOUT).write_text(json.dumps({"version": backup.VERSION}))
    return folder


def test_all_of_it_is_on_the_disk_before_it_is_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    source = taken(tmp_path / "backup")
    monkeypatch.setattr(os, "fsync", noting)
    restore(source, tmp_path / "node", quietly, [KEY])
    names = {Path(each).name.removesuffix(".new") for each in synced}
    assert {"journal.db", "ab" * 32} <= names
    assert [each.name for each in (tmp_path / "node/state/journal/blobs").iterdir()] == ["ab" * 32]


def test_a_config_that_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    source = taken(tmp_path / "backup", CONFIG + b'state = "/var/lib/mesyx"\n')
    with pytest.raises(Misconfigured, match="outside of its folder"):
        restore(source, tmp_path / "node", quietly, [KEY])
    assert not (tmp_path / "node").exists()
