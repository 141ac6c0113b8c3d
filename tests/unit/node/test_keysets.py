"""`mesyx keyset`, on a real client with a real gateway beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from mesyx_core.api import Refused
from mesyx_core.node import governing, keysets
from mesyx_core.node.core import Node
from mesyx_core.node.stores import Store
from mesyx_core.testing.cluster import PASSPHRASE, STORE, Cluster, alice_and_bob
from mesyx_core.vault import age
from mesyx_core.vault.keyset import key_id
from mesyx_core.vault.manifest import sign
from mesyx_core.vault.proposal import read_proposal
from mesyx_core.vault.roster import Roster
from tests.unit.node.quick import quick_passphrases

pytestmark = pytest.mark.anyio
PATIENCE = 20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Clock:
    """The wall clock of what publishes keysets."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def turned(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(keysets, "now", clock)
    return clock


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passphrases(monkeypatch)


@pytest.fixture
async def cluster(tmp_path: Path, turned: Clock, cheap: None) -> AsyncIterator[Cluster]:
    async with alice_and_bob(tmp_path) as cluster:
        yield cluster


def alice(cluster: Cluster) -> tuple[Node, Store]:
    assert cluster.alice.node is not None
    return cluster.alice.node, cluster.alice.node.stores.named(STORE)


async def listed(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """By name; of several of one name the last."""
    return {row["name"]: row for row in await cluster.alice.ask("keyset.list", store=STORE)}


async def known_at_bobs(cluster: Cluster) -> Roster:
    """What Bob's seals by, once it is what Alice's says."""
    _, store = alice(cluster)
    assert cluster.bob.node is not None
    [other] = cluster.bob.node.stores
    with anyio.fail_after(PATIENCE):
        while other.manifest != store.manifest:  # noqa: ASYNC110 - another node
            await anyio.sleep(0.01)
    return Roster.of(store.manifest, store.secrets.keys() if store.secrets else ())


async def test_a_new_store_has_a_keyset_for_now_and_one_for_ever(cluster: Cluster) -> None:
    first, fallback = await cluster.alice.ask("keyset.list", store=STORE)
    assert (first["name"], first["state"], first["kept_until"]) == ("first", "current", None)
    assert (fallback["name"], fallback["state"], fallback["until"]) == ("fallback", "current", None)
    assert [(key["sort"], key["here"]) for key in fallback["keys"]] == [("long-term", True)]
    assert sorted(key["sort"] for key in first["keys"]) == ["long-term", "short-term"]


async def test_a_policy_publishes_the_coming_eight_periods(cluster: Cluster) -> None:
    said = await cluster.alice.ask("keyset.policy", store=STORE, text="normal: weekly keep 4;high:monthly keep forever")
    assert (said["policy"], said["ahead"]) == ("normal: weekly keep 4; high: monthly keep forever", 8)
    assert (len(said["made"]), said["closed"], said["periods_left"]) == (18, ["first"], 8)
    rows = await listed(cluster)
    assert {row["state"] for name, row in rows.items() if name in said["made"]} == {"current", "future"}
    assert all(key["here"] for row in rows.values() for key in row["keys"])
    assert rows["first"]["state"] == "closed"
    roster = await known_at_bobs(cluster)
    assert roster.missing(keysets.clock()) == ()
    assert await cluster.alice.ask("keyset.policy", store=STORE) == {
        "policy": said["policy"],
        "ahead": 8,
        "periods_left": 8,
    }


async def test_setting_the_same_policy_again_changes_nothing(cluster: Cluster) -> None:
    await cluster.alice.ask("keyset.policy", store=STORE, text="weekly")
    _, store = alice(cluster)
    before = store.manifest
    said = await cluster.alice.ask("keyset.policy", store=STORE, text="weekly")
    assert (said["made"], said["closed"]) == ([], [])
    assert store.manifest is before


async def test_no_policy_leaves_the_fallback_keyset(cluster: Cluster) -> None:
    await cluster.alice.ask("keyset.policy", store=STORE, text="daily", ahead=1)
    said = await cluster.alice.ask("keyset.policy", store=STORE, text="none")
    assert (said["policy"], len(said["closed"])) == ("", 2)
    rows = await cluster.alice.ask("keyset.list", store=STORE)
    assert [row["name"] for row in rows if row["state"] != "closed"] == ["fallback"]


async def test_what_is_no_policy_is_refused_where_it_goes_wrong(cluster: Cluster) -> None:
    with pytest.raises(Refused, match="column 1: 'fortnightly' is no period"):
        await cluster.alice.ask("keyset.policy", store=STORE, text="fortnightly")


async def test_mail_of_high_importance_goes_to_the_keyset_for_it(cluster: Cluster) -> None:
    await cluster.alice.ask("keyset.policy", store=STORE, text="weekly; high: monthly")
    await known_at_bobs(cluster)
    await cluster.deliver(b"Subject: dinner\r\n\r\nAt eight.\r\n")
    await cluster.deliver(b"Subject: fire\r\n\r\nNow.\r\n", importance="high")
    assert len(await cluster.read(2)) == 2
    sealed_to = {name: row["epochs"] for name, row in (await listed(cluster)).items() if row["epochs"]}
    assert sorted((name.partition(":")[0], count) for name, count in sealed_to.items()) == [
        ("high", 1),
        ("low+normal", 1),
    ]


async def test_further_periods_are_published_as_time_goes(cluster: Cluster, turned: Clock) -> None:
    node, store = alice(cluster)
    await cluster.alice.ask("keyset.policy", store=STORE, text="weekly", ahead=8)
    numbers = []
    for _ in range(12):
        turned.ahead += timedelta(days=7)
        await node.upkeep.round()
        numbers.append(store.manifest.number)
        assert (await cluster.alice.ask("keyset.policy", store=STORE))["periods_left"] >= 5
        assert not [one for one in node.upkeep.findings() if one["level"] != "ok"]
    assert len(set(numbers)) == 4  # several at a time: each change is a manifest that is kept for ever
    roster = await known_at_bobs(cluster)
    assert all(key_id(one) in node.keyring.held(store.id) for each in roster.keysets for one in each.recipients)


async def test_a_client_that_was_away_for_months_publishes_what_is_missing(cluster: Cluster, turned: Clock) -> None:
    node, _ = alice(cluster)
    await cluster.alice.ask("keyset.policy", store=STORE, text="weekly; high: 2040")
    turned.ahead += timedelta(days=150)
    [finding] = node.upkeep.findings()
    assert finding["level"] == "error"
    assert "has run out of keysets: the fallback keyset serves" in finding["what"]
    await node.upkeep.round()
    assert node.upkeep.findings() == []
    assert (await cluster.alice.ask("keyset.policy", store=STORE))["periods_left"] == 8


async def test_a_clock_that_is_turned_back_makes_nothing_twice(cluster: Cluster, turned: Clock) -> None:
    node, store = alice(cluster)
    await cluster.alice.ask("keyset.policy", store=STORE, text="weekly")
    turned.ahead = timedelta(days=3650)
    await node.upkeep.round()
    far = store.manifest
    turned.ahead = timedelta()
    await node.upkeep.round()
    assert store.manifest is far
    assert (await cluster.alice.ask("keyset.policy", store=STORE))["periods_left"] == 8


async def test_a_clock_far_ahead_is_not_borne_out_by_the_others(cluster: Cluster, turned: Clock) -> None:
    node, store = alice(cluster)
    assert await keysets.confirmed(node, store) == pytest.approx(keysets.clock(), abs=2)  # nobody has written yet
    await cluster.deliver(b"Subject: hello\r\n\r\nHello.\r\n")
    await cluster.read(1)
    turned.ahead = timedelta(days=3650)
    assert await keysets.confirmed(node, store) < keysets.clock() - 3640 * 86_400
    turned.ahead = timedelta(hours=12)
    assert await keysets.confirmed(node, store) == pytest.approx(keysets.clock(), abs=2)
    turned.ahead = timedelta(days=-30)
    assert await keysets.confirmed(node, store) == pytest.approx(keysets.clock(), abs=2)


async def test_without_the_owner_key_people_are_told_before_keysets_run_out(cluster: Cluster, turned: Clock) -> None:
    node, store = alice(cluster)
    await cluster.alice.ask("keyset.policy", store=STORE, text="weekly")
    assert store.secrets is not None
    store.secrets = type(store.secrets)(None, store.secrets.identities)
    said = []
    for week in range(10):
        turned.ahead = timedelta(days=7 * week)
        await node.upkeep.round()
        said += [(week, one["level"], one["what"]) for one in node.upkeep.findings()]
    assert said == [
        (7, "warning", "alice has keysets for one more period only: then the fallback keyset serves"),
        (8, "warning", "alice has keysets for the current period only: then the fallback keyset serves"),
        (9, "error", "alice has run out of keysets: the fallback keyset serves"),
    ]
    [finding] = node.upkeep.findings()
    assert "mesyx keyset policy alice --owner-key FILE" in finding["remedy"]


async def test_a_keyset_is_added_for_recipients_made_elsewhere(cluster: Cluster, tmp_path: Path) -> None:
    offline = age.generate()
    said = await cluster.alice.ask("keyset.add", store=STORE, frame="high: 2099 keep 2", recipients=[offline.recipient])
    [added] = said["keysets"]
    assert added["name"] == "high:2099"
    row = (await listed(cluster))["high:2099"]
    assert sorted((key["sort"], key["here"]) for key in row["keys"]) == [("long-term", True), ("short-term", False)]
    file = tmp_path / "key.txt"
    file.write_text(f"# made by age-keygen\n{offline.text}\n{age.generate().text}\n")
    said = await cluster.alice.ask("keyset.import", store=STORE, file=str(file))
    assert said == {"imported": 1, "here_before": 0, "of_no_keyset": 1}
    assert all(key["here"] for key in (await listed(cluster))["high:2099"]["keys"])
    again = await cluster.alice.ask("keyset.import", store=STORE, file=str(file))
    assert again == {"imported": 0, "here_before": 1, "of_no_keyset": 1}


async def test_keys_of_no_keyset_are_not_imported(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "key.txt"
    file.write_text(age.generate().text)
    with pytest.raises(Refused, match="no keyset of alice is under a key of that file"):
        await cluster.alice.ask("keyset.import", store=STORE, file=str(file))


async def test_a_classic_key_cannot_stand_beside_hybrid_ones(cluster: Cluster) -> None:
    with pytest.raises(Refused, match="all hybrid or all classic"):
        await cluster.alice.ask("keyset.add", store=STORE, frame="2099", hybrid=False)
    said = await cluster.alice.ask("keyset.add", store=STORE, frame="2099 strict", hybrid=False, keyset_name="old")
    [added] = said["keysets"]
    assert added["name"] == "old"
    [key] = (await listed(cluster))["old"]["keys"]
    assert (key["hybrid"], key["here"]) == (False, True)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({}, "a keyset is for a period"),
        ({"frame": "2099", "fallback": True}, "a keyset is for a period"),
        ({"frame": "weekly"}, "a period that recurs"),
        ({"frame": "2020"}, "that period is over"),
        ({"frame": "2099", "recipients": ["age1nonsense"]}, "not an age recipient"),
    ],
)
async def test_keysets_that_cannot_be_are_refused(cluster: Cluster, arguments: dict[str, Any], what: str) -> None:
    _, store = alice(cluster)
    before = store.manifest
    with pytest.raises(Refused, match=what):
        await cluster.alice.ask("keyset.add", store=STORE, **arguments)
    assert store.manifest is before


async def test_what_the_policy_asks_for_is_made_again_when_it_is_retired(cluster: Cluster) -> None:
    said = await cluster.alice.ask("keyset.policy", store=STORE, text="weekly")
    current = said["made"][0]
    retired = await cluster.alice.ask("keyset.retire", store=STORE, names=[current])
    assert retired == {"closed": [current], "made": [current]}
    states = [row["state"] for row in await cluster.alice.ask("keyset.list", store=STORE) if row["name"] == current]
    assert sorted(states) == ["closed", "current"]


async def test_the_last_fallback_keyset_is_not_retired(cluster: Cluster) -> None:
    with pytest.raises(Refused, match="without a fallback keyset"):
        await cluster.alice.ask("keyset.retire", store=STORE, names=["fallback"])
    _, store = alice(cluster)
    old = next(keyset for keyset in store.manifest.keysets if keyset.fallback)
    await cluster.alice.ask("keyset.add", store=STORE, fallback=True)
    await cluster.alice.ask("keyset.retire", store=STORE, names=[old.id.hex()[:8]])
    assert old.id in store.manifest.closed
    with pytest.raises(Refused, match="has no keyset 'nosuch'"):
        await cluster.alice.ask("keyset.retire", store=STORE, names=["nosuch"])


async def test_a_keyset_is_exported_under_the_passphrase_without_the_long_term_keys(cluster: Cluster) -> None:
    said = await cluster.alice.ask("keyset.export", store=STORE, name="first", passphrase=PASSPHRASE)
    text = age.decrypt_passphrase(said["file"].encode(), PASSPHRASE).decode()
    [line] = [line for line in text.splitlines() if not line.startswith("#")]
    _, store = alice(cluster)
    first, fallback = sorted(store.manifest.keysets, key=lambda keyset: keyset.fallback)
    assert age.parse_identity(line).recipient in set(first.recipients) - set(fallback.recipients)
    assert said["keys"] == [key_id(age.parse_identity(line).recipient).hex()]
    await cluster.alice.ask("keyset.exported", store=STORE, keys=said["keys"], to="/media/stick/week.age")
    [short] = [key for key in (await listed(cluster))["first"]["keys"] if key["sort"] == "short-term"]
    assert [each["place"] for each in short["seen"]] == ["exported to /media/stick/week.age"]
    with pytest.raises(Refused, match="wrong passphrase"):
        await cluster.alice.ask("keyset.export", store=STORE, name="first", passphrase="guessed")


async def test_only_who_has_the_passphrase_changes_a_store_that_is_locked(cluster: Cluster) -> None:
    await cluster.alice.ask("store.lock", name=STORE)
    with pytest.raises(Refused, match="passphrase"):
        await cluster.alice.ask("keyset.policy", store=STORE, text="weekly")
    said = await cluster.alice.ask("keyset.policy", store=STORE, text="weekly", by={"passphrase": PASSPHRASE})
    assert len(said["made"]) == 9
    rows = await cluster.alice.ask("keyset.list", store=STORE)
    assert {row["state"] for row in rows} == {"current", "future", "closed"}
    assert all(key["here"] for row in rows for key in row["keys"])


async def test_with_the_owner_key_elsewhere_a_policy_is_proposed_signed_and_taken(
    cluster: Cluster, tmp_path: Path
) -> None:
    node, store = alice(cluster)
    before, file = store.manifest, tmp_path / "weekly"
    said = await cluster.alice.ask("keyset.policy", store=STORE, text="weekly", by={"proposal": str(file)})
    assert (len(said["made"]), said["proposal"], said["name"]) == (9, str(file), STORE)
    assert store.manifest is before
    proposal = read_proposal(file.read_text())
    document = sign(proposal.manifest, await governing.owner_key(node, store))
    await governing.take(node, store, document)
    rows = await listed(cluster)
    assert rows[said["made"][0]]["state"] == "current"
    assert all(key["here"] for row in rows.values() for key in row["keys"])


async def test_a_gateway_changes_nothing(cluster: Cluster) -> None:
    assert cluster.bob.node is not None
    [store] = cluster.bob.node.stores
    with pytest.raises(Refused, match="has no private keys"):
        await cluster.bob.ask("keyset.policy", store=store.name, text="weekly")
    rows = await cluster.bob.ask("keyset.list", store=store.name)
    assert [key["here"] for row in rows for key in row["keys"]] == [False] * 3


async def test_keys_that_nothing_was_published_under_do_not_stay(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, store = alice(cluster)
    held = node.keyring.held(store.id)

    async def refuse(*_: Any, **__: Any) -> None:
        raise Refused("not now")

    monkeypatch.setattr(governing, "govern", refuse)
    with pytest.raises(Refused, match="not now"):
        await cluster.alice.ask("keyset.policy", store=STORE, text="weekly")
    assert node.keyring.held(store.id) == held
