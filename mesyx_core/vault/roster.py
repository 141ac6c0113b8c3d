"""The part of a manifest that is about keysets, with its names opened, and what changes it: policy, hand and loss.

Nothing here makes a key: whoever changes something has made them, and keeps their private halves, before anybody can
seal to them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from . import age
from .keyset import Keyset
from .manifest import Manifest
from .names import KeysetName, Names, open_, seal
from .policy import Frame, Policy, Span, frame_of, left, parse, planned

FALLBACK: Final = "fallback"
LISTED: Final = 256
"""Keysets that a manifest goes on listing once they have ended: earlier ones stand in earlier manifests."""


@dataclass(frozen=True)
class Roster:
    """A store's keysets and client recipients, and what people call them."""

    keysets: tuple[Keyset, ...]
    closed: frozenset[bytes]
    clients: tuple[str, ...]
    names: Names

    @classmethod
    def of(cls, manifest: Manifest, identities: Sequence[age.Identity]) -> Roster:
        """Of a manifest; the identities are a client's. Raises NamesError."""
        return cls(manifest.keysets, manifest.closed, manifest.clients, open_(manifest.names, identities))

    def into(self, manifest: Manifest, identities: Sequence[age.Identity]) -> Manifest:
        """The manifest that says this. Names are sealed anew only where they, or who may read them, have changed."""
        names = self.names.only((member.node for member in manifest.members), (keyset.id for keyset in self.keysets))
        changed = self.clients != manifest.clients or names != open_(manifest.names, identities)
        return replace(
            manifest,
            keysets=self.keysets,
            closed=self.closed & {keyset.id for keyset in self.keysets},
            clients=self.clients,
            names=seal(names, self.clients) if changed else manifest.names,
        )

    # --- what there is ------------------------------------------------------------------------------------------------

    def find(self, word: str) -> list[Keyset]:
        """Those that a person can mean by a name or the first digits of an id; of one name those in use, else all."""
        named = [keyset for keyset in self.keysets if self.label(keyset) == word]
        if named:
            return [keyset for keyset in named if self.open(keyset)] or named
        digits = word.lower()
        return [keyset for keyset in self.keysets if len(digits) >= 4 and keyset.id.hex().startswith(digits)]

    def label(self, keyset: Keyset) -> str:
        """What people call it: its name, or the first digits of its id."""
        return self.names.keyset(keyset.id).name or (FALLBACK if keyset.fallback else keyset.id.hex()[:8])

    def open(self, keyset: Keyset) -> bool:
        """Whether it is not closed."""
        return keyset.id not in self.closed

    def coming(self, now: int) -> list[Keyset]:
        """Those that are or will be sealed to."""
        return [each for each in self.keysets if self.open(each) and (each.end is None or each.end > now)]

    @property
    def lasting(self) -> frozenset[str]:
        """The long-term recipients: those of fallback keysets that are open."""
        return frozenset(one for each in self.keysets if each.fallback and self.open(each) for one in each.recipients)

    def due(self, keyset: Keyset, now: int) -> bool:
        """Whether its short-term key has been kept for as long as it shall be."""
        expires = self.names.keyset(keyset.id).expires
        return expires is not None and expires <= now

    def short(self, keyset: Keyset) -> frozenset[str]:
        """Its recipients that are in no keyset without an end: what a short-term client has, and what is destroyed."""
        return frozenset(keyset.recipients) - self._endless

    def strict(self, keyset: Keyset) -> bool:
        """Whether no long-term key opens it: what is sealed to it is gone with its short-term key."""
        return self._endless.isdisjoint(keyset.recipients)

    @property
    def _endless(self) -> frozenset[str]:
        return frozenset(one for each in self.keysets if each.end is None for one in each.recipients)

    def held_by(self, node: bytes) -> frozenset[str]:
        """The recipients whose private keys a client may have been given."""
        keys = self.names.node(node).keys
        if keys == "none":
            return frozenset()
        every = frozenset(one for each in self.keysets for one in each.recipients)
        return frozenset(self.clients) | (every if keys == "all" else every - self._endless)

    # --- policy -------------------------------------------------------------------------------------------------------

    @property
    def policy(self) -> Policy | None:
        """Raises PolicyError for one of a later version."""
        return parse(self.names.policy) if self.names.policy else None

    def missing(self, now: int) -> tuple[Frame, ...]:
        """The keysets that the policy asks for now and that there are not."""
        policy = self.policy
        frames = planned(policy, now, self.names.ahead) if policy is not None else ()
        made = self._made(now)
        return tuple(frame for frame in frames if self._sort(frame) not in made)

    def left(self, now: int) -> int | None:
        """For how many coming periods there are keysets, of the sort that runs out first; None without a policy that
        recurs."""
        policy = self.policy
        return None if policy is None else left(policy, {span for span, _ in self._made(now)}, now)

    def _made(self, now: int) -> set[tuple[Span, bool]]:
        lasting = self.lasting
        return {(_span(each), lasting.isdisjoint(each.recipients)) for each in self.coming(now)}

    def _sort(self, frame: Frame) -> tuple[Span, bool]:
        return frame.span, frame.strict or not self.lasting

    def under(self, text: str, ahead: int, now: int) -> Roster:
        """Under another policy, or with an empty text under none: what the last one has made and this one does not ask
        for is closed; what it asks for is kept as long as it says."""
        policy = parse(text) if text else None
        frames = planned(policy, now, ahead) if policy is not None else ()
        wanted, lasting = {self._sort(frame) for frame in frames}, self.lasting
        over = [
            each.id
            for each in self.coming(now)
            if self.names.keyset(each.id).by_policy and (_span(each), lasting.isdisjoint(each.recipients)) not in wanted
        ]
        names = replace(self.names, policy=str(policy or ""), ahead=ahead)
        if policy is not None:
            names = names.with_keysets(dict(self._kept(policy)))
        return replace(self, names=names).without(over)

    def _kept(self, policy: Policy) -> Iterable[tuple[bytes, KeysetName]]:
        for each in self.keysets:
            name = self.names.keyset(each.id)
            if name.by_policy:
                found = frame_of(policy, _span(each))
                yield each.id, name if found is None else name._replace(expires=found.expires)

    # --- changes ------------------------------------------------------------------------------------------------------

    def frame(self, frame: Frame, recipients: Iterable[str]) -> Keyset:
        """The keyset for a frame: under these recipients and, unless it is strict, the long-term ones. Raises
        KeysetError."""
        every = (*recipients, *(() if frame.strict else self.lasting))
        return Keyset(every, frame.start, frame.end, frame.importances)

    def with_keyset(self, keyset: Keyset, name: KeysetName) -> Roster:
        """One more."""
        names = self.names.with_keysets({keyset.id: name._replace(name=self._free(name.name))})
        return replace(self, keysets=(*self.keysets, keyset), names=names)

    def _free(self, name: str) -> str:
        """The name, or with a number behind it where another of it is open."""
        taken = {self.label(each) for each in self.keysets if self.open(each)}
        return next(
            one for one in (name, *(f"{name}.{number}" for number in range(2, len(taken) + 3))) if one not in taken
        )

    def filled(self, fresh: Mapping[Frame, str], now: int) -> Roster:
        """With the keysets that the policy asks for, under these short-term recipients, in the place of any that it has
        made for the same span."""
        roster = self
        for frame in self.missing(now):
            if frame in fresh:
                keyset = self.frame(frame, (fresh[frame],))
                over = (one for one in self.coming(now) if _span(one) == frame.span)
                roster = roster.without(one.id for one in over if self.names.keyset(one.id).by_policy)
                roster = roster.with_keyset(keyset, KeysetName(frame.name, frame.expires, True))
        return roster

    def without(self, ids: Iterable[bytes]) -> Roster:
        """With these closed: nothing is sealed to them any more."""
        return replace(self, closed=self.closed | frozenset(ids))

    def exchanged(self, fresh: Mapping[str, str], now: int) -> Roster:
        """With recipients whose private keys are lost, or somebody else's, exchanged for others: in the client
        recipients, and in a twin of each keyset that is or will be sealed to; the keyset itself is closed."""
        roster = replace(self, clients=tuple(fresh.get(each, each) for each in self.clients))
        for each in self.coming(now):
            if not fresh.keys().isdisjoint(each.recipients):
                twin = replace(each, recipients=tuple(fresh.get(one, one) for one in each.recipients))
                name = self.names.keyset(each.id)
                roster = roster.without([each.id]).with_keyset(twin, name._replace(name=self.label(each)))
        return roster

    def pruned(self, now: int) -> Roster:
        """Without the oldest keysets that have ended, but for LISTED of them, unless a key of theirs waits to be
        destroyed."""
        ended = sorted(
            (each for each in self.keysets if each.end is not None and each.end <= now), key=lambda each: each.end or 0
        )
        gone = {each.id for each in ended[:-LISTED] if self._settled(each, now)}
        kept = tuple(each for each in self.keysets if each.id not in gone)
        return replace(self, keysets=kept, closed=self.closed - gone)

    def _settled(self, keyset: Keyset, now: int) -> bool:
        expires = self.names.keyset(keyset.id).expires
        return expires is None or expires + 90 * 86_400 <= now


def _span(keyset: Keyset) -> Span:
    return Span(keyset.start, keyset.end, keyset.importances)


def is_hybrid(recipients: Collection[str]) -> bool:
    """Whether a key made to stand beside these recipients is to be a hybrid one: as they are; hybrid where there are
    none."""
    return all(age.check_recipient(each) == "hybrid" for each in recipients)
