"""A node's folder: its config, its state, its key, and the lock that says whose state it is just now."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mesyx_core.api.errors import Busy, Misconfigured
from mesyx_core.config import Config, write_initial
from mesyx_core.node.durable import sync_folder, write_durably
from mesyx_core.vault.nodekey import NodeKey

KEY_FORM: Final = "mesyx-node-key-1:"


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
        """Hold the state for this process; raises Busy when another one has it, Misconfigured when this user may not
        write there.
        """
        try:
            descriptor = os.open(self.state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise not_writable(self.state, error.strerror or "OSError") from error
        if not os.access(self.state, os.W_OK | os.X_OK):
            os.close(descriptor)
            raise not_writable(self.state, os.strerror(errno.EACCES))
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


def not_writable(state: Path, why: str) -> Misconfigured:
    """The state folder is not this user's, or on a disk that takes nothing."""
    return Misconfigured(
        f"{state}: cannot be written ({why})",
        "run this as the user who owns the node; its disk must be mounted writable and have room",
    )


def create(folder: Path, name: str, roles: Sequence[str]) -> tuple[Path, bool]:
    """A new node in `folder`: config, state folder, key. Gives the config's path, and whether the key was there
    already: it is never replaced. Raises Refused, Misconfigured."""
    file = write_initial(folder, name, roles)
    state = folder / "state"
    try:
        state.mkdir(mode=0o700, exist_ok=True)
        state.chmod(0o700)
        return file, not _write_key(state / "node.key")
    except OSError:
        file.unlink()  # so that the same can be asked for again
        raise


def _write_key(path: Path) -> bool:
    """A new node key, whole and durable before it has its name; False when there is one already."""
    if path.exists():
        return False
    fresh = path.with_name(f"{path.name}.new")
    write_durably(fresh, f"{KEY_FORM}{os.urandom(32).hex()}\n".encode("ascii"))
    try:
        os.link(fresh, path)
    except FileExistsError:
        return False
    finally:
        fresh.unlink(missing_ok=True)
        sync_folder(path.parent)
    return True


def parse_key(path: Path, text: str) -> NodeKey:
    try:
        secret = bytes.fromhex(text.removeprefix(KEY_FORM))
    except ValueError as error:
        raise Misconfigured(f"{path}: is not a node key", "restore it from a backup of this node") from error
    if len(secret) != 32 or not text.startswith(KEY_FORM):
        raise Misconfigured(f"{path}: is not a node key", "restore it from a backup of this node")
    return NodeKey(secret)
