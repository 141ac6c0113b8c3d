"""Hostile proposals, read where the owner key is: ManifestError or a proposal that can be told, never anything else."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import replace

from mesyx_core.vault.age import Identity
from mesyx_core.vault.keyset import Keyset
from mesyx_core.vault.manifest import Manifest, ManifestError, Member, next_commitment, owner_public, parse, sign
from mesyx_core.vault.proposal import Proposal, changes, proposal_file, read_proposal, read_signed

OWNER = bytes(32)
RECIPIENT = Identity.classic(b"1" * 32).recipient
PUBLIC = owner_public(b"2" * 32)
FIRST = Manifest(
    owner=owner_public(OWNER),
    next_owner=next_commitment(PUBLIC),
    members=(Member(PUBLIC, RECIPIENT, frozenset(("accept",)), addresses=("a@x",)),),
    keysets=(Keyset((RECIPIENT,), 1, 2),),
    clients=(RECIPIENT,),
)
SECOND = replace(FIRST, number=2, parents=(FIRST.hash,), first=FIRST.store, grace=1)
FILE = proposal_file(Proposal("alice", (sign(FIRST, OWNER),), SECOND))
SEEDS: list[bytes] = [b"", FILE.encode(), base64.b64decode("".join(FILE.splitlines()[1:-1]))]


def target(data: bytes) -> None:
    """Read `data` as a file, and as what is inside one."""
    inside = base64.b64encode(data).decode()
    for text in (
        data.decode("ascii", "replace"),
        f"-----BEGIN MESYX PROPOSAL-----\n{inside}\n-----END MESYX PROPOSAL-----\n",
    ):
        with contextlib.suppress(ManifestError):
            proposal = read_proposal(text)
            for parent in proposal.parents:
                assert all(line.isprintable() for line in changes(parse(parent), proposal.manifest))
        with contextlib.suppress(ManifestError):
            read_signed(text)
