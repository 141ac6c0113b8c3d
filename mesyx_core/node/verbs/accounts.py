"""`mesyx account …`: a person's own log-ins on other networks. A client says what there is; a gateway holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import anyio
from pydantic import BaseModel, JsonValue, SecretStr

from mesyx_core.api import Locked, MesyxError, Misconfigured, Refused
from mesyx_core.config.refusal import members
from mesyx_core.mailbox.account import Account as Mailbox
from mesyx_core.mailbox.accounts import Noted
from mesyx_core.node.accounts import STATES
from mesyx_core.node.clock import now
from mesyx_core.node.finding import Finding, finding
from mesyx_core.node.opened import KINDS, checked
from mesyx_core.node.verbs.queue import _member
from mesyx_core.pipeline import Content, ToNode
from mesyx_core.record import outgoing
from mesyx_core.record.ops import Dot
from mesyx_core.record.outgoing import Account, AccountRemoved
from mesyx_core.record.shape import RecordError

if TYPE_CHECKING:
    from mesyx_core.node.core import Node
    from mesyx_core.node.stores import Store

PATIENCE: Final = 2.0
"""Seconds for which gateways are asked how their accounts are."""
OPENING: Final = 6.0
"""Seconds for which `add` waits to hear whether the gateway could open the account."""
LOOK: Final = 0.2
ON_ITS_WAY: Final = "it is on its way to that node"


async def add(
    node: Node,
    store: str,
    use: str,
    name: str,
    on: str,
    via: str = "",
    settings: Mapping[str, JsonValue] | None = None,
    secrets: Mapping[str, str] | None = None,
) -> Any:
    """Seal an account to the gateway that shall hold it, and note it for the clients; replaces one of that name."""
    held, mailbox = _open(node, store)
    gateway = _gateway(held, on)
    elsewhere = [one for one in await mailbox.accounts() if one.name == name and one.node != gateway]
    if elsewhere:
        raise Refused(
            f"another node holds an account {name} of {held.name}",
            f"mesyx account remove {held.name} {name}, or choose another name",
        )
    told = Account(name, use, gateway, via, dict(settings or {}), dict(secrets or {}))
    _bounded(told)
    _checked(node, told)
    told = told._replace(time=max(int(now().timestamp()), await mailbox.account_told(name, gateway) + 1))
    await _say(node, held, mailbox, told, told._replace(secrets={}))
    return {"name": name, "store": held.name, "node": gateway.hex(), **await _settled(node, held, told)}


async def remove(node: Node, store: str, name: str) -> Any:
    """Have it closed, and forgotten, wherever it is."""
    held, mailbox = _open(node, store)
    found = [one for one in await mailbox.accounts() if one.name == name]
    if not found:
        raise Refused(f"the store {held.name} has no account {name}", f"mesyx account list {held.name}")
    for one in found:
        time = max(int(now().timestamp()), one.time + 1)
        if held.authority.member(one.node) is not None:
            await _say(node, held, mailbox, *[AccountRemoved(name, one.node, time)] * 2)
        else:
            await _note(node, held, mailbox, AccountRemoved(name, one.node, time))
    return {"name": name, "store": held.name, "nodes": [one.node.hex() for one in found]}


async def listing(node: Node, store: str | None = None) -> Any:
    """On a client what there is and how its gateway says it is; on a gateway what it holds, without names."""
    rows: list[dict[str, Any]] = []
    for held in [node.stores.named(store)] if store is not None else list(node.stores):
        if held.account is not None:
            rows += await _listed(node, held, held.account)
        elif node.keyring.has(held.id):
            rows.append({"store": held.name, "name": "", "state": "locked", "why": "unlock the store to see them"})
        else:
            rows += [
                {"store": held.name, **{key: one[key] for key in ("use", "state", "seconds", "restarts")}}
                for one in node.accounts.listing(held.id)
            ]
    return rows


async def findings(node: Node) -> list[Finding]:
    """For `mesyx doctor`: accounts that their gateways cannot open, or cannot keep open."""
    found: list[Finding] = []
    for store in node.stores if node.live else ():
        for row in await _listed(node, store, store.account) if store.account is not None else ():
            if row["state"] in ("down", "retry"):
                remedy = f"mend the cause, or say it anew: mesyx account add {store.name} {row['use']} {row['name']} …"
                found.append(
                    finding(
                        "warning", f"{store.name}: the account {row['name']} is {row['state']}: {row['why']}", remedy
                    )
                )
    return found


async def _listed(node: Node, store: Store, mailbox: Mailbox) -> list[dict[str, Any]]:
    noted = await mailbox.accounts()
    states: dict[bytes, dict[str, Any] | str] = {}

    async def ask(gateway: bytes) -> None:
        states[gateway] = await _states(node, store, gateway)

    async with anyio.create_task_group() as tasks:
        for gateway in {one.node for one in noted}:
            tasks.start_soon(ask, gateway)
    return [_row(store, one, states[one.node]) for one in noted]


def _row(store: Store, one: Noted, states: dict[str, Any] | str) -> dict[str, Any]:
    return {
        "store": store.name,
        "name": one.name,
        "use": one.use,
        "node": one.node.hex(),
        "settings": dict(one.settings),
        **_state(states, one.name, one.time),
    }


def _state(states: dict[str, Any] | str, name: str, time: int) -> dict[str, Any]:
    if isinstance(states, str):
        return {"state": "unknown", "why": states}
    found = states.get(name)
    if found is None or found["time"] < time:
        return {"state": "sent", "why": ON_ITS_WAY}
    return {key: found[key] for key in ("state", "why", "seconds", "restarts")}


async def _states(node: Node, store: Store, gateway: bytes) -> dict[str, Any] | str:
    """How the accounts on a gateway are, by name; or why that is not known."""
    if not node.live:
        return "this node is not running"
    found: dict[str, Any] = {}
    try:
        async with aclosing(node.exchange.ask(store.id, gateway, STATES, None, PATIENCE)) as answers:
            async for answer in answers:
                for row in answer if isinstance(answer, list) else []:
                    found |= _known(row)
    except MesyxError as error:
        return error.what
    return found


def _known(row: JsonValue) -> dict[str, Any]:
    """What a gateway says of one account, if it has the form it should have."""
    match row:
        case {
            "name": str(name),
            "time": int(time),
            "state": str(state),
            "why": str(why),
            "seconds": int(seconds),
            "restarts": int(restarts),
        }:
            told = {"state": state[:16], "why": why[:300], "seconds": seconds, "restarts": restarts}
            return {name: {"time": time, **told}}
        case _:
            return {}


async def _settled(node: Node, store: Store, told: Account) -> dict[str, Any]:
    """How the account is once the gateway has tried to open it, or has not said so in time."""
    state: dict[str, Any] = {}
    with anyio.move_on_after(OPENING):
        while True:
            state = _state(await _states(node, store, told.node), told.name, told.time)
            if state["state"] == "up" or (state["state"] in ("down", "retry") and state["why"] != "not opened yet"):
                break
            if not node.live:
                break
            await anyio.sleep(LOOK)
    return state or {"state": "sent", "why": ON_ITS_WAY}


# --- saying it -------------------------------------------------------------------------------------------------------


async def _say(
    node: Node, store: Store, mailbox: Mailbox, told: Account | AccountRemoved, note: Account | AccountRemoved
) -> None:
    """To the gateway alone, and without its secrets to the clients: in one transaction."""
    sealer = store.sealer
    first = await sealer.seal(Content(told.pack(), target=ToNode(told.node)))
    second = await sealer.seal(Content(note.pack(), target="clients"))
    _, seq = await node.stores.commit([first, second])
    await _reached(mailbox, second[0].origin, seq)


async def _note(node: Node, store: Store, mailbox: Mailbox, note: AccountRemoved) -> None:
    sealed = await store.sealer.seal(Content(note.pack(), target="clients"))
    [seq] = await node.stores.commit([sealed])
    await _reached(mailbox, sealed[0].origin, seq)


async def _reached(mailbox: Mailbox, origin: Any, seq: int) -> None:
    await mailbox.feed.reached([Dot(origin.node, origin.incarnation, seq, 0)])


def _open(node: Node, name: str) -> tuple[Store, Mailbox]:
    """Raises Refused, Locked."""
    store = node.stores.named(name)
    if not node.keyring.has(store.id):
        raise Refused(f"this node has no private keys of {store.name}", "accounts are set on a client")
    if store.account is None:
        raise Locked(
            f"the store {store.name} is locked on this node",
            f"mesyx run, then mesyx store unlock {store.name} --passphrase-file FILE",
        )
    return store, store.account


def _gateway(store: Store, on: str) -> bytes:
    gateway = _member(store, on)
    if not store.authority.may(gateway, "accept"):
        raise Refused(
            f"{on} is no gateway of the store {store.name}", "accounts are held by nodes with the role accept"
        )
    return gateway


def _bounded(told: Account) -> None:
    """Raises Refused for what another node would not take."""
    try:
        if outgoing.decode_account(_value(told)) != told or len(told.pack()) > 256 << 10:
            raise Refused("that is too much for an account")
    except RecordError:
        raise Refused("an account's name, settings or secrets are too long", "see `mesyx account add --help`") from None


def _value(told: Account) -> list[Any]:
    return [*told[:4], dict(told.settings), dict(told.secrets), told.time]


def _checked(node: Node, told: Account) -> None:
    """By the plugin's own model, where the plugin is installed here too; else the gateway complains. Raises Refused."""
    for model in _models(node, told.use):
        clear = sorted(key for key in told.settings if _is_secret(model, key))
        if clear:
            raise Refused(f"{clear[0]} is a secret", f"give it as --secret {clear[0]} or --secret {clear[0]}=@FILE")
        try:
            checked(model, told.settings, told.secrets)
        except Misconfigured as error:
            raise Refused(f"{told.use} does not take that: {error.what}", "see the plugin's documentation") from None
        return


def _models(node: Node, use: str) -> Iterator[type[BaseModel]]:
    for kind in KINDS:
        try:
            model = node.registry.find(kind, use).account
        except Refused:
            continue
        if model is not None:
            yield model


def _is_secret(model: type[BaseModel], key: str) -> bool:
    field = model.model_fields.get(key)
    return field is not None and any(kind is SecretStr for kind in members(field.annotation))
