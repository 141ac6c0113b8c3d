"""`mesyx queue`: messages on their way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from mesyx_core.cli.command import ask, command, emit
from mesyx_core.cli.show import plain, table

ID = click.argument("id_", metavar="ID")
_SHOWN = 12
ENDED = frozenset(("sent", "never", "dropped"))


@click.group()
def queue() -> None:
    """Messages on their way out.

    An ID may be shortened to digits that fit one message alone; so may the key of a NODE, which may be named by its
    host name as well.
    """


@command("mesyx queue list --all", group=queue, name="list", table=True)
@click.option("--all", "all_", is_flag=True, default=None, help="On a client, what ended within thirty days as well.")
def list_(all_: bool | None) -> None:
    """Show what is not sent yet, to whom, and what it waits for.

    A gateway knows messages by their ids alone: it keeps no addresses.
    """
    emit(ask("queue.list", {"all": all_}), _listed)


def _listed(rows: Sequence[Mapping[str, Any]]) -> str:
    own = [line for row in rows if "recipients" in row for line in _lines(row)]
    others = [row for row in rows if "recipients" not in row]
    tables = [table(some) for some in (own, others) if some]
    return "\n\n".join(tables) or "nothing waits to be sent"


def _lines(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One for each recipient."""
    head = {"id": row["id"][:_SHOWN], "store": row["store"], "age": row.get("seconds")}
    gateway = str(row.get("gateway", ""))[:_SHOWN]
    blank = {"address": "", "state": row["state"], "reason": "", "attempts": None, "next": None}
    return [
        {
            **head,
            "to": each["address"],
            "state": each["state"] + (", may have been sent" if each.get("may_have_been_sent") else ""),
            "attempts": each["attempts"],
            "next": each["next"],
            "gateway": gateway,
            "reason": each["reason"] or ("" if each["state"] in ENDED else row.get("waits_for", "")),
        }
        for each in row["recipients"] or [blank]
    ]


@command("mesyx queue retry 3f9a1c0d2b47", group=queue, table=True)
@ID
def retry(id_: str) -> None:
    """Try to send the message ID now.

    What had failed for some of its recipients is submitted to these anew, under an id of its own; what waits past its
    time gets five more days.
    """
    emit(ask("queue.retry", {"id": id_}), _retried)


def _retried(result: Mapping[str, Any]) -> str:
    words = {
        "sealed": "is sealed to a gateway",
        "asked": "is tried by its gateway as soon as that hears of it",
        "waits": "waits for a gateway",
        "submitted anew": f"takes the place of {str(result['was'])[:_SHOWN]}",
    }
    return f"{str(result['id'])[:_SHOWN]} {words.get(str(result['done']), plain(result['done']))}"


@command("mesyx queue drop 3f9a1c0d2b47", group=queue, table=True)
@ID
def drop(id_: str) -> None:
    """Send the message ID no more. The copy in Sent stays."""
    emit(ask("queue.drop", {"id": id_}), _dropped)


def _dropped(result: Mapping[str, Any]) -> str:
    if result["done"] == "dropped":
        return f"{str(result['id'])[:_SHOWN]} is dropped"
    return f"{str(result['id'])[:_SHOWN]} is dropped as soon as its gateway hears of it"


@command("mesyx queue move --from 41c2f00a --to mx2.example.org", group=queue, table=True)
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--from", "source", metavar="NODE", help="Move all that this gateway has not sent.")
@click.option("--to", "to", metavar="NODE", required=True, help="The gateway that is to send it.")
def move(id_: str | None, source: str | None, to: str) -> None:
    """Hand the message ID, or all that one gateway has, to another gateway.

    What is known to be sent is not sent again. Named are those recipients whom the old gateway may have reached without
    having said so: they may get the message twice.
    """
    if (id_ is None) == (source is None):
        raise click.UsageError("give one ID, or --from NODE")
    emit(ask("queue.move", {"id": id_, "source": source, "to": to}), _moved)


def _moved(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [{**row, "id": str(row["id"])[:_SHOWN]} for row in rows]
    return table(shown, none="that gateway has nothing of yours that is not sent")
