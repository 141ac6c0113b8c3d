"""A manifest on its way to the owner key and back, as a text file: what is proposed with what it follows, or signed."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from .encoding import EncodingError, decode, encode
from .keyset import Keyset
from .manifest import MOST_PARENTS, Manifest, ManifestError, Member, parse, parse_unsigned, unsigned
from .names import Names

VERSION: Final = 1
LARGEST: Final = 8 << 20
"""Bytes of a file."""
LONGEST_NAME: Final = 64
_FILE: Final = re.compile(r"\s*-----BEGIN MESYX (PROPOSAL|MANIFEST)-----\n([A-Za-z0-9+/=\n]*)-----END MESYX \1-----\s*")


class Proposal(NamedTuple):
    """What the owner is asked to sign."""

    store: str
    """What people call it."""
    parents: tuple[bytes, ...]
    """The documents that it follows."""
    manifest: Manifest


def proposal_file(proposal: Proposal) -> str:
    """As text that a stick or a mail can carry. Who reads it learns of the store what its members know."""
    return _armored("PROPOSAL", encode([VERSION, proposal.store, list(proposal.parents), unsigned(proposal.manifest)]))


def read_proposal(text: str) -> Proposal:
    """Raises ManifestError for anything but a proposal that follows the manifests beside it, all of one owner."""
    try:
        version, store, parents, data = decode(_plain(text, "PROPOSAL"), limit=LARGEST, depth=2)
    except (EncodingError, ValueError, TypeError):
        raise ManifestError("not a proposal") from None
    if version != VERSION or type(store) is not str or type(parents) is not list or type(data) is not bytes:
        raise ManifestError("not a proposal of this version")
    if not 0 < len(store) <= LONGEST_NAME or not store.isprintable() or not 0 < len(parents) <= MOST_PARENTS:
        raise ManifestError("not a proposal")
    manifest = parse_unsigned(data)
    known = [parse(document) if type(document) is bytes else None for document in parents]
    if tuple(sorted(each.hash for each in known if each is not None)) != manifest.parents:
        raise ManifestError("it does not follow the manifests that come with it")
    if any(each is None or each.store != manifest.store for each in known):
        raise ManifestError("it follows manifests of another store")
    return Proposal(store, tuple(parents), manifest)


def signed_file(document: bytes) -> str:
    """A signed document as text."""
    return _armored("MANIFEST", document)


def read_signed(text: str) -> bytes:
    """The document, its signature checked. Raises ManifestError."""
    document = _plain(text, "MANIFEST")
    parse(document)
    return document


def _armored(kind: str, data: bytes) -> str:
    encoded = base64.b64encode(data).decode("ascii")
    lines = [encoded[at : at + 64] for at in range(0, len(encoded), 64)]
    return "\n".join([f"-----BEGIN MESYX {kind}-----", *lines, f"-----END MESYX {kind}-----", ""])


def _plain(text: str, kind: str) -> bytes:
    if len(text) > 2 * LARGEST:
        raise ManifestError("too long")
    found = _FILE.fullmatch(text)
    if found is None or found[1] != kind:
        raise ManifestError(f"not a {kind.lower()}")
    try:
        return base64.b64decode(found[2].replace("\n", ""), validate=True)
    except binascii.Error:
        raise ManifestError(f"a damaged {kind.lower()}") from None


# --- in words ---------------------------------------------------------------------------------------------------------


def changes(before: Manifest, after: Manifest, names: Names | None = None) -> list[str]:
    """What the one changes of the other, a line each; what only dates it is left out."""
    said = names or Names()
    return [
        *_members(before, after, said),
        *_keysets(before, after, said),
        *_rest(before, after),
    ]


def _members(before: Manifest, after: Manifest, names: Names) -> Iterator[str]:
    old, new = ({each.node: each for each in one.members} for one in (before, after))
    for node in sorted(old.keys() | new.keys()):
        name = names.node(node).name
        who = f"node {name} ({node.hex()})" if name else f"node {node.hex()}"
        if node not in new:
            yield f"removes {who}"
        elif node not in old:
            yield f"adds {who}: {_does(new[node])}"
        elif old[node] != new[node]:
            yield f"changes {who}: from {_does(old[node])} to {_does(new[node])}"
    ends = set(after.cuts) - set(before.cuts)
    for node in sorted({cut.node for cut in ends}):
        yield f"ends {sum(cut.node == node for cut in ends)} logs of node {names.node(node).name or node.hex()}"
    if gone := {cut[:2] for cut in before.cuts} - {cut[:2] for cut in after.cuts}:
        yield f"takes back the end of {len(gone)} logs"


def _does(member: Member) -> str:
    parts = [", ".join(sorted(member.roles)) or "no role"]
    parts += [f"{word} {', '.join(what)}" for word, what in _has(member) if what]
    return "; ".join(parts)


def _has(member: Member) -> Sequence[tuple[str, Any]]:
    return ("with the right to", sorted(member.rights)), ("addresses", member.addresses), ("at", member.dial)


def _keysets(before: Manifest, after: Manifest, names: Names) -> Iterator[str]:
    old, new = ({each.id: each for each in one.keysets} for one in (before, after))
    for id in sorted(new.keys() - old.keys()):
        yield f"adds keyset {_called(names, id)}: {_covers(new[id])}"
    for id in sorted(old.keys() - new.keys()):
        yield f"lists keyset {_called(names, id)} no longer"
    for id in sorted(after.closed - before.closed):
        yield f"closes keyset {_called(names, id)}"
    for id in sorted((before.closed - after.closed) & new.keys()):
        yield f"opens keyset {_called(names, id)} again"


def _called(names: Names, id: bytes) -> str:
    name = names.keyset(id).name
    return f"{name} ({id.hex()[:16]})" if name else id.hex()[:16]


def _covers(keyset: Keyset) -> str:
    span = f"from {_moment(keyset.start)} until {_moment(keyset.end)}"
    keys = ", ".join(f"{recipient[:24]}…" if len(recipient) > 70 else recipient for recipient in keyset.recipients)
    return f"{'fallback, ' if keyset.fallback else ''}{span}, {', '.join(sorted(keyset.importances))}, to {keys}"


def _moment(time: int | None) -> str:
    if time is None:
        return "-"
    try:
        return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return str(time)


def _rest(before: Manifest, after: Manifest) -> Iterator[str]:
    for word, some in (
        ("adds", set(after.clients) - set(before.clients)),
        ("removes", set(before.clients) - set(after.clients)),
    ):
        for recipient in sorted(some):
            yield f"{word} the clients' key {recipient[:70]}{'…' if len(recipient) > 70 else ''}"
    if before.owner != after.owner:
        yield f"makes {after.owner.hex()} the owner key"
    if before.next_owner != after.next_owner:
        yield "commits to another next owner key"
    if before.grace != after.grace:
        yield f"has purges wait {after.grace} seconds, not {before.grace}"
    if before.names != after.names:
        yield "changes names, or the policy of keysets"
