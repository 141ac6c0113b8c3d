"""A node's folder: its config, its state, its key, and the lock that says whose state it is just now."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mesyx_core.api.errors import Busy, Misconfigured
from mesyx_core.config import Config
from mesyx_core.vault.nodekey import NodeKey


class Home:
    """Paths of one node. Making it touches nothing."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.state = config.state

    @property
    def socket(self) -> Path:
        return self.state / "control.sock"

    def key(self) -> NodeKey:
        """The node's key. Raises Misconfigured when it is missing, damaged or readable by others."""
        path = self.state / "node.key"
        try:
            mode = path.stat().st_mode
            text = path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(
                f"{path}: cannot be read", "run `mesyx init DIR` to make a node, or restore its key"
            ) from error
        if mode & 0o077:
            raise Misconfigured(f"{path}: others can read the node's key", f"chmod 600 {path}")
        return parse_key(path, text)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the state for this process; raises Busy when another one has it."""
        descriptor = os.open(self.state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Busy(
                    f"{self.state}: another mesyx process is using this state", "stop it, or wait until it is done"
                ) from error
            yield
        finally:
            os.close(descriptor)


def parse_key(path: Path, text: str) -> NodeKey:
    try:
        secret = bytes.fromhex(text.removeprefix("mesyx-node-key-1:"))
    except ValueError as error:
        raise Misconfigured(f"{path}: is not a node key", "restore it from a backup of this node") from error
    if len(secret) != 32 or not text.startswith("mesyx-node-key-1:"):
        raise Misconfigured(f"{path}: is not a node key", "restore it from a backup of this node")
    return NodeKey(secret)
