"""`mesyx keyset …`: what messages are sealed to, when, and whose private keys open it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync

from mesyx_core.api import Refused
from mesyx_core.node import keysets, secrets
from mesyx_core.node.identities import read_identities
from mesyx_core.node.keysets import clock, opened
from mesyx_core.node.secrets import Secrets
from mesyx_core.node.sightings import Sighting
from mesyx_core.node.stores import Store
from mesyx_core.record.payloads import Target
from mesyx_core.vault import age, policy
from mesyx_core.vault.keyset import Keyset, KeysetError, key_id
from mesyx_core.vault.names import KeysetName, Names
from mesyx_core.vault.policy import Frame, PolicyError
from mesyx_core.vault.roster import FALLBACK, Roster, is_hybrid

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

NONE: Final = "none"
"""The word for no policy."""


async def listing(node: Node, store: str) -> Any:
    """Every keyset of the manifest in effect, those that end first in front. With names where the store is open."""
    held = node.stores.named(store)
    roster = _readable(held)
    keys = await run_sync(node.keyring.held, held.id)
    seen = await node.sightings.all(held.id)
    epochs = await held.account.epochs() if held.account is not None else {}
    now = clock()
    return [
        {
            "name": roster.label(each),
            "id": each.id.hex(),
            "from": each.start,
            "until": each.end,
            "importance": _importances(each),
            "state": _state(roster, each, now, keys),
            "kept_until": roster.names.keyset(each.id).expires,
            "keys": [_key(roster, each, one, keys, seen) for one in each.recipients],
            "epochs": epochs.get(Target("keyset", each.id), 0),
        }
        for each in sorted(roster.keysets, key=lambda each: (each.end is None, each.end, each.start or 0, each.id))
    ]


def _readable(store: Store) -> Roster:
    """What can be read here: without the names where the store is locked."""
    if store.secrets is not None:
        try:
            return opened(store, store.secrets)
        except Refused:
            pass
    return Roster(store.manifest.keysets, store.manifest.closed, store.manifest.clients, Names())


def _importances(keyset: Keyset) -> list[str]:
    return [one for one in ("low", "normal", "high") if one in keyset.importances]


def _state(roster: Roster, keyset: Keyset, now: int, held: frozenset[bytes]) -> str:
    over = not roster.open(keyset) or (keyset.end is not None and keyset.end <= now)
    if over and roster.due(keyset, now):
        return "due" if any(key_id(one) in held for one in roster.short(keyset)) else "shredded"
    if not roster.open(keyset):
        return "closed"
    if keyset.start is not None and keyset.start > now:
        return "future"
    return "ended" if over else "current"


def _key(
    roster: Roster, keyset: Keyset, recipient: str, held: frozenset[bytes], seen: Mapping[bytes, Sequence[Sighting]]
) -> dict[str, Any]:
    id = key_id(recipient)
    return {
        "id": id.hex(),
        "sort": "short-term" if recipient in roster.short(keyset) else "long-term",
        "hybrid": age.check_recipient(recipient) == "hybrid",
        "here": id in held,
        "seen": [{"place": each.place, "time": each.time} for each in seen.get(id, ())],
    }


async def set_policy(
    node: Node,
    store: str,
    text: str | None = None,
    ahead: int | None = None,
    by: Mapping[str, str] | None = None,
) -> Any:
    """Put a store under a policy and publish the current keysets and those ahead; without a text say which it is."""
    held = node.stores.named(store)
    if text is None and ahead is None:
        return _policy(opened(held, await _secrets(node, held, by or {})))
    hand = await keysets.hand(node, held, by)
    before = opened(held, hand.secrets)
    wanted = before.names.policy if text is None else "" if text.strip() == NONE else _checked(text)
    many = before.names.ahead if ahead is None else ahead

    def under(roster: Roster) -> Roster:
        return roster.under(wanted, many, clock())

    if wanted and not before.lasting and any(not clause.strict for clause in policy.parse(wanted).clauses):
        raise Refused(
            f"{held.name} has no fallback keyset, whose long-term keys stand in the others",
            f"mesyx keyset add {held.name} --fallback, or write strict in each clause",
        )
    after = await keysets.fill(node, held, hand, under)
    return {
        **_policy(after),
        "made": _labels(after, set(after.keysets) - set(before.keysets)),
        "closed": _labels(after, [each for each in after.keysets if each.id in after.closed - before.closed]),
        **_proposal(held, by),
    }


def _proposal(store: Store, by: Mapping[str, str] | None) -> dict[str, Any]:
    """Where what was said waits to be signed, if it does."""
    return {"name": store.name, "proposal": by["proposal"]} if by and "proposal" in by else {}


async def _secrets(node: Node, store: Store, by: Mapping[str, str]) -> Secrets:
    if store.secrets is not None:
        return store.secrets
    if not node.keyring.has(store.id):
        raise Refused(f"this node has no private keys of {store.name}", "run this on a client")
    return await run_sync(
        node.keyring.open, store.id, await secrets.given(by.get("passphrase_file"), by.get("passphrase"))
    )


def _checked(text: str) -> str:
    try:
        return str(policy.parse(text))
    except PolicyError as error:
        raise Refused(f"the policy cannot be read at {error}", "like 'normal: weekly keep 4; high: monthly'") from error


def _policy(roster: Roster) -> dict[str, Any]:
    return {"policy": roster.names.policy, "ahead": roster.names.ahead, "periods_left": roster.left(clock())}


def _labels(roster: Roster, some: Sequence[Keyset] | set[Keyset]) -> list[str]:
    return [roster.label(each) for each in sorted(some, key=lambda each: (each.end or 0, each.start or 0))]


async def add(
    node: Node,
    store: str,
    frame: str = "",
    recipients: Sequence[str] = (),
    hybrid: bool | None = None,
    fallback: bool = False,
    keyset_name: str | None = None,
    by: Mapping[str, str] | None = None,
) -> Any:
    """Make keysets by hand, for periods or as another fallback: under a new key, or recipients made elsewhere."""
    held = node.stores.named(store)
    if fallback == bool(frame):
        raise Refused("a keyset is for a period, or is a fallback keyset", "like '2026', 'high: 2026-11' or --fallback")
    hand = await keysets.hand(node, held, by)
    roster = opened(held, hand.secrets)
    frames = (None,) if fallback else _frames(frame)
    made: list[tuple[Keyset, KeysetName]] = []
    fresh: list[age.Identity] = []
    for one in frames:
        under = tuple(recipients)
        if not under:
            fresh.append(age.generate(hybrid=_kind(roster, one, hybrid)))
            under = (fresh[-1].recipient,)
        made.append(_made(roster, one, under, keyset_name))
    known = {each.id for each in roster.keysets}
    if any(keyset.id in known for keyset, _ in made):
        raise Refused("there is such a keyset already", f"see `mesyx keyset list {held.name}`")

    def added(current: Roster) -> Roster:
        for keyset, name in made:
            current = current.with_keyset(keyset, name)
        return current

    after = await keysets.publish(node, held, hand, added, fresh)
    rows = [
        {"name": after.label(keyset), "id": keyset.id.hex(), "from": keyset.start, "until": keyset.end}
        for keyset, _ in made
    ]
    return {"keysets": rows, **_proposal(held, by)}


def _kind(roster: Roster, frame: Frame | None, hybrid: bool | None) -> bool:
    """Whether a new key is hybrid: as asked, or as those that it stands beside."""
    if hybrid is not None:
        return hybrid
    return frame is None or frame.strict or is_hybrid(roster.lasting)


def _frames(text: str) -> tuple[Frame, ...]:
    try:
        found = policy.parse(text)
    except PolicyError as error:
        raise Refused(f"the period cannot be read at {error}", "like '2026' or 'high: 2026-11 keep 2'") from error
    if any(clause.period.only is None for clause in found.clauses):
        raise Refused("a period that recurs is no single one", "mesyx keyset policy makes those")
    frames = policy.planned(found, clock(), 0)
    if not frames:
        raise Refused("that period is over", "name one that ends in the future")
    return frames


def _made(
    roster: Roster, frame: Frame | None, recipients: Sequence[str], name: str | None
) -> tuple[Keyset, KeysetName]:
    try:
        if frame is None:
            return Keyset(tuple(recipients), fallback=True), KeysetName(name or FALLBACK)
        return roster.frame(frame, recipients), KeysetName(name or frame.name, frame.expires)
    except KeysetError as error:
        raise Refused(
            f"there cannot be such a keyset: {error}",
            "write strict behind the period to leave the long-term recipients out, if they are of another kind",
        ) from error


async def retire(
    node: Node,
    store: str,
    names: Sequence[str],
    by: Mapping[str, str] | None = None,
) -> Any:
    """Close keysets: nothing is sealed to them any more, from when each node hears of it."""
    held = node.stores.named(store)
    hand = await keysets.hand(node, held, by)
    roster = opened(held, hand.secrets)
    ids = {found(roster, held, name).id for name in names}
    rest = [each for each in roster.coming(clock()) if each.id not in ids]
    if not any(each.fallback for each in rest):
        raise Refused(
            "without a fallback keyset mail would be refused whenever no other is in use",
            f"first make another one: mesyx keyset add {held.name} --fallback",
        )
    after = await keysets.fill(node, held, hand, lambda current: current.without(ids))
    return {
        "closed": _labels(after, [each for each in after.keysets if each.id in ids]),
        "made": _labels(after, set(after.keysets) - set(roster.keysets)),
        **_proposal(held, by),
    }


def found(roster: Roster, store: Store, word: str) -> Keyset:
    """The keyset that a person means. Raises Refused."""
    those = roster.find(word)
    if len(those) == 1:
        return those[0]
    what = f"{word!r} could be several keysets" if those else f"{store.name} has no keyset {word!r}"
    raise Refused(what, f"see `mesyx keyset list {store.name}`: a name, or the first digits of an id")


async def import_(
    node: Node, store: str, file: str, passphrase_file: str | None = None, passphrase: str | None = None
) -> Any:
    """Take the private keys in an age identity file that some manifest of the store names; the passphrase is the
    file's."""
    held = node.stores.named(store)
    if not node.may("client"):
        raise Refused("this node is not a client", "import private keys where mail is read")
    phrase = await secrets.given(passphrase_file, passphrase) if passphrase_file or passphrase else None
    brought = await run_sync(read_identities, Path(file), phrase)
    ours = _listed(held, brought)
    fresh = await node.mailboxes.add_keys(held, [one.text for one in ours])
    return {"imported": len(fresh), "here_before": len(ours) - len(fresh), "of_no_keyset": len(brought) - len(ours)}


def _listed(store: Store, brought: Sequence[age.Identity]) -> list[age.Identity]:
    """Of private keys, those that some manifest of the store names. Raises Refused where there are none."""
    manifests = store.authority.manifests.values()
    listed = {one for manifest in manifests for each in manifest.keysets for one in each.recipients}
    listed.update(one for manifest in manifests for one in manifest.clients)
    ours = [one for one in brought if one.recipient in listed]
    if not ours:
        raise Refused(
            f"no keyset of {store.name} is under a key of that file",
            "add its recipient first: mesyx keyset add STORE PERIOD --recipient age1…",
        )
    return ours


async def export(
    node: Node, store: str, name: str, passphrase_file: str | None = None, passphrase: str | None = None
) -> Any:
    """A keyset's own private keys that are here, as an age identity file under the store's passphrase. Long-term keys
    are only in that of a fallback keyset: they open much more."""
    held = node.stores.named(store)
    phrase = await secrets.given(passphrase_file, passphrase)
    if not node.keyring.has(held.id):
        raise Refused(f"this node has no private keys of {held.name}", "run this on a client")
    kept = await run_sync(node.keyring.open, held.id, phrase)
    roster = opened(held, kept)
    keyset = found(roster, held, name)
    own = roster.short(keyset) or frozenset(keyset.recipients)
    identities = kept.keys()
    keys = [one for one in identities if one.recipient in own]
    if not keys:
        raise Refused(f"no private key of {roster.label(keyset)} is here", f"see `mesyx keyset list {held.name}`")
    lines = [f"# keyset {roster.label(keyset)} of store {held.name}", *(one.text for one in keys), ""]
    sealed = await run_sync(_sealed, "\n".join(lines), phrase)
    return {
        "name": roster.label(keyset),
        "keys": [key_id(one.recipient).hex() for one in keys],
        "file": sealed,
    }


async def exported(node: Node, store: str, keys: Sequence[str], to: str, offline: bool = False) -> Any:
    """What was exported is in a file now: there it was last seen. `offline`: it shall be there alone."""
    held = node.stores.named(store)
    ids = frozenset(bytes.fromhex(each) for each in keys)
    await node.sightings.note(held.id, ids, f"exported to {to}", given_up=offline)
    gone: frozenset[bytes] = frozenset()
    if offline:
        manifests = held.authority.manifests.values()
        listed = {one for manifest in manifests for each in manifest.keysets for one in each.recipients}
        gone = await node.mailboxes.destroy_keys(held, [one for one in listed if key_id(one) in ids])
    return {"name": held.name, "destroyed": len(gone)}


async def open_(
    node: Node,
    store: str,
    file: str,
    process: int | None = None,
    passphrase_file: str | None = None,
    passphrase: str | None = None,
) -> Any:
    """Open with the private keys in a file, which stay in it, until it is removed, or `process` has ended, or
    `close`."""
    held = node.stores.named(store)
    phrase = await secrets.given(passphrase_file, passphrase) if passphrase_file or passphrase else None
    brought = await run_sync(read_identities, Path(file), phrase)
    ours = _listed(held, brought)
    loan = await node.loans.open(held, ours, Path(file), process)
    return {"loan": loan, "keys": [key_id(one.recipient).hex() for one in ours], "file": file}


async def close(node: Node, store: str, loan: str) -> Any:
    """Before its time."""
    held = node.stores.named(store)
    node.loans.close(held, loan)
    return {"name": held.name}


def _sealed(text: str, phrase: str) -> str:
    return age.encrypt_passphrase(text.encode(), phrase, armor=True).decode("ascii")
