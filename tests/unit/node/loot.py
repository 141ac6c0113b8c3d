"""What somebody finds who takes a gateway's disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from mesyx_core.journal import Journal
from mesyx_core.node.home import parse_key
from mesyx_core.outbox.days import Days
from mesyx_core.record import outgoing as record
from mesyx_core.record.outgoing import Intent, Receipt, Request
from tests.unit.node.world import everything


class Loot:
    """A copy of a gateway's whole folder, in the hands of somebody who knows everything about Mesyx."""

    def __init__(self, node: Path, folder: Path) -> None:
        shutil.copytree(node, folder, ignore=shutil.ignore_patterns("*.sock"))
        self.state = folder / "state"
        self.key = parse_key(self.state / "node.key", (self.state / "node.key").read_text().strip())

    def files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.state.rglob("*") if path.is_file()}

    async def opened(self, store: bytes) -> list[Request | Intent | Receipt]:
        """All requests, intents and receipts that its keys open: its own and those of every day."""
        days = Days.open(self.state / "days", self.key.seal_row, self.key.open_row)
        held = [days.identity(day.id) for day in days]
        days.close()
        identities = [self.key.identity, *(one for one in held if one is not None)]
        async with Journal.open(self.state / "journal") as journal:
            found = [record.decode(one) for one in await everything(journal, store, identities)]
        return [one for one in found if isinstance(one, Request | Intent | Receipt)]
