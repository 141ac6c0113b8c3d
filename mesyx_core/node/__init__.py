"""The composition: one node of journal, stores, plugins and exchange, and what commands ask of it."""

from __future__ import annotations

from pathlib import Path

from mesyx_core.node.calling import call

__all__ = ["call", "run"]


def run(file: Path, passphrase_file: Path | None = None, owner_key: Path | None = None) -> None:
    """Run the node until SIGTERM or SIGINT. Raises MesyxError when it cannot start."""
    from mesyx_core.node.run import run as run_node

    run_node(file, passphrase_file, owner_key)
