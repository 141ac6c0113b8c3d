"""Which messages no session has been told of yet: \\Recent (RFC 3501, section 2.3.2)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from mesyx_core.api import Mailbox


class Marks:
    """Of one store: the highest UID that some session has been told of, by mailbox."""

    def __init__(self, told: Mapping[str, int] | None = None) -> None:
        self._told = dict(told or {})
        self.changed = False
        """Since they were last kept."""

    @classmethod
    def unpack(cls, data: bytes | None) -> Marks:
        """What `pack` gave; of anything else, none."""
        try:
            kept = json.loads(data or b"{}")
            return cls({str(at): int(mark) for at, mark in kept.items()})
        except (ValueError, AttributeError, TypeError):
            return cls()

    def pack(self) -> bytes:
        """For the plugin's sealed state."""
        self.changed = False
        return json.dumps(self._told).encode()

    def claim(self, mailbox: Mailbox, uids: Sequence[int], keep: bool) -> set[int]:
        """Those of `uids` (ascending) that are recent; with `keep` they are so for nobody else."""
        mark = self._told.get(_key(mailbox), 0)
        if not uids or uids[-1] <= mark:
            return set()
        if keep:
            self._told[_key(mailbox)] = uids[-1]
            self.changed = True
        return {uid for uid in uids if uid > mark}

    def may_have(self, mailbox: Mailbox) -> bool:
        """False when certainly none is recent."""
        return self._told.get(_key(mailbox), 0) + 1 < mailbox.uidnext


def _key(mailbox: Mailbox) -> str:
    return f"{mailbox.id.hex()}.{mailbox.uidvalidity}"
