"""What a policy, a hand and a loss change in a store's keysets."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from mesyx_core.vault import age
from mesyx_core.vault.keyset import Keyset, KeysetError, select
from mesyx_core.vault.manifest import Manifest, next_commitment, owner_public
from mesyx_core.vault.names import KeysetName, Names, NamesError
from mesyx_core.vault.nodekey import NodeKey
from mesyx_core.vault.policy import Frame
from mesyx_core.vault.roster import LISTED, Roster, is_hybrid

DAY = 86_400
NOW = int(datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp())
OWN, LONG, OLD, NEW, OTHER = (age.Identity.classic(bytes([number]) * 32) for number in range(1, 6))
FALLBACK = Keyset((LONG.recipient,), fallback=True)
FIRST = Keyset((OLD.recipient, LONG.recipient), NOW - DAY, NOW + 90 * DAY)
LAPTOP, PHONE = NodeKey(b"1" * 32).public, NodeKey(b"2" * 32).public
ROSTER = Roster(
    (FALLBACK, FIRST), frozenset(), (OWN.recipient,), Names(keysets={FIRST.id: KeysetName("first", None, True)})
)


def made(frames: Iterable[Frame]) -> dict[Frame, str]:
    return {frame: age.generate(hybrid=False).recipient for frame in frames}


def under(roster: Roster, text: str, now: int = NOW, ahead: int = 8) -> Roster:
    changed = roster.under(text, ahead, now)
    return changed.filled(made(changed.missing(now)), now)


def labels(roster: Roster, keysets: Iterable[Keyset]) -> list[str]:
    return sorted(map(roster.label, keysets))


def test_a_policy_has_its_keysets_made_and_closes_what_the_last_one_had() -> None:
    weekly = under(ROSTER, "weekly", ahead=1)
    assert labels(weekly, weekly.coming(NOW)) == ["2026-W48", "2026-W49", "fallback"]
    assert FIRST.id in weekly.closed
    monthly = under(weekly, "monthly", ahead=1)
    assert labels(monthly, monthly.coming(NOW)) == ["2026-11", "2026-12", "fallback"]
    none = under(monthly, "")
    assert none.coming(NOW) == [FALLBACK]
    assert none.policy is None


def test_what_was_made_by_hand_outlives_a_policy() -> None:
    apart = Keyset((OTHER.recipient,), NOW, NOW + DAY)
    roster = under(ROSTER.with_keyset(apart, KeysetName("holiday")), "weekly")
    assert apart in roster.coming(NOW)


def test_keysets_that_are_there_are_not_made_again() -> None:
    roster = under(ROSTER, "weekly; high: monthly", ahead=2)
    assert roster.missing(NOW) == ()
    assert under(roster, "weekly; high: monthly", ahead=2).keysets == roster.keysets
    later = NOW + 7 * DAY
    assert [frame.name for frame in roster.missing(later)] == ["low+normal:2026-W51", "high:2027-02"]
    assert (roster.left(NOW), roster.left(later)) == (2, 1)


def test_the_long_term_recipients_are_in_every_keyset_but_strict_ones() -> None:
    roster = under(ROSTER, "normal: weekly; high: monthly strict", ahead=0)
    by_name = {roster.label(each): each for each in roster.coming(NOW)}
    assert LONG.recipient in by_name["normal:2026-W48"].recipients
    assert len(by_name["high:2026-11"].recipients) == 1
    assert [name for name, each in by_name.items() if roster.strict(each)] == ["high:2026-11"]
    assert under(roster, "normal: weekly; high: monthly strict", ahead=0).keysets == roster.keysets


def test_a_policy_that_is_changed_says_how_long_keys_made_before_are_kept() -> None:
    roster = under(ROSTER, "weekly keep 4", ahead=0)
    [week] = [each for each in roster.keysets if roster.label(each) == "2026-W48"]
    assert week.end is not None
    assert not roster.due(week, week.end + 28 * DAY - 1)
    assert roster.due(week, week.end + 28 * DAY)
    later = NOW + 21 * DAY
    longer = under(roster, "weekly keep 12", later)
    assert not longer.due(week, week.end + 28 * DAY)
    assert longer.due(week, week.end + 84 * DAY)
    assert not under(roster, "weekly", later).due(week, 1 << 50)


def test_a_keyset_that_is_retired_is_followed_by_another_of_the_same_name() -> None:
    roster = under(ROSTER, "weekly", ahead=0)
    [week] = roster.find("2026-W48")
    retired = roster.without([week.id])
    again = retired.filled(made(retired.missing(NOW)), NOW)
    [twin] = again.find("2026-W48")
    assert twin != week
    assert select(again.keysets, NOW, "normal", again.closed) == twin
    assert again.find(week.id.hex()[:8]) == [week]


def test_lost_keys_are_exchanged_wherever_anything_will_be_sealed_to_them() -> None:
    roster = under(ROSTER, "weekly", ahead=1)
    now = NOW + 7 * DAY
    exchanged = roster.exchanged({OWN.recipient: NEW.recipient, LONG.recipient: OTHER.recipient}, now)
    assert exchanged.clients == (NEW.recipient,)
    assert labels(exchanged, exchanged.coming(now)) == ["2026-W49", "fallback"]
    assert not any(LONG.recipient in each.recipients for each in exchanged.coming(now))
    assert exchanged.lasting == {OTHER.recipient}
    assert FALLBACK.id in exchanged.closed
    [past] = exchanged.find("2026-W48")
    assert exchanged.open(past)
    assert exchanged.missing(now)[0].name == "2026-W50"


def test_a_client_may_hold_what_it_was_added_for() -> None:
    roster = ROSTER.with_keyset(Keyset((NEW.recipient, LONG.recipient), NOW, NOW + DAY), KeysetName())
    named = Roster(
        roster.keysets,
        roster.closed,
        roster.clients,
        roster.names.with_node(PHONE, "phone", "short").with_node(LAPTOP, "laptop", "all"),
    )
    assert named.held_by(LAPTOP) == {each.recipient for each in (OWN, LONG, OLD, NEW)}
    assert named.held_by(PHONE) == {each.recipient for each in (OWN, OLD, NEW)}
    assert named.held_by(NodeKey(b"3" * 32).public) == frozenset()
    assert named.short(FIRST) == {OLD.recipient}


def test_a_store_without_long_term_keys_gets_each_keyset_once() -> None:
    alone = Roster((FIRST,), frozenset([FIRST.id]), (OWN.recipient,), Names())
    roster = under(alone, "weekly", ahead=0)
    assert roster.missing(NOW) == ()
    assert len(roster.coming(NOW)) == 1


def test_recipients_of_two_kinds_are_refused() -> None:
    [frame, *_] = ROSTER.under("weekly", 0, NOW).missing(NOW)
    with pytest.raises(KeysetError, match="all hybrid or all classic"):
        ROSTER.frame(frame, [age.generate().recipient])
    assert not is_hybrid(ROSTER.lasting)
    assert is_hybrid(())


def test_a_manifest_lists_the_last_keysets_that_have_ended() -> None:
    roster = ROSTER
    for day in range(LISTED + 20):
        keyset = Keyset((OTHER.recipient,), NOW + day * DAY, NOW + (day + 1) * DAY)
        roster = roster.with_keyset(keyset, KeysetName(f"day {day}", 1 << 50 if day == 3 else None))
    end = NOW + 400 * DAY
    pruned = roster.without(each.id for each in roster.keysets).pruned(end)
    gone = {roster.label(each) for each in roster.keysets} - {pruned.label(each) for each in pruned.keysets}
    assert gone == {f"day {day}" for day in range(21) if day != 3}
    assert FALLBACK in pruned.keysets
    assert pruned.closed == {each.id for each in pruned.keysets}


def test_a_manifest_says_what_a_roster_does() -> None:
    manifest = Manifest(
        owner=owner_public(bytes(32)),
        next_owner=next_commitment(owner_public(b"1" * 32)),
        keysets=(FALLBACK, FIRST),
        clients=(OWN.recipient,),
    )
    changed = under(Roster.of(manifest, [OWN]), "weekly")
    said = changed.into(manifest, [OWN])
    assert Roster.of(said, [OWN]).names == changed.names
    assert set(said.keysets) == set(changed.keysets)
    with pytest.raises(NamesError):
        Roster.of(said, [NEW])
    assert Roster.of(said, [OWN]).into(said, [OWN]) == said
    exchanged = Roster.of(said, [OWN]).exchanged({OWN.recipient: NEW.recipient}, NOW).into(said, [OWN])
    assert Roster.of(exchanged, [NEW]).names.policy == "weekly"
