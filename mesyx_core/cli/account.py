"""`mesyx account`: a person's own log-ins on other networks, held by a gateway."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from mesyx_core.cli import exits
from mesyx_core.cli.command import ask, command, emit
from mesyx_core.cli.show import plain, table
from mesyx_core.cli.values import Name

LARGEST: Final = 64 << 10
COLUMNS: Final = ("store", "name", "use", "node", "state", "why")


@click.group()
def account() -> None:
    """Your own log-ins on other networks, held by a gateway."""


@command(
    "mesyx account add alice irc libera --on mx1.example.org --set nick=alice --secret password",
    group=account,
    table=True,
)
@click.argument("store", metavar="STORE", type=Name())
@click.argument("use", metavar="PLUGIN")
@click.argument("name", metavar="NAME", type=Name())
@click.option("--on", required=True, metavar="NODE", help="The gateway: its host name, or the first digits of its key.")
@click.option("--via", metavar="INSTANCE", help="Which of the gateway's instances opens it, if several could.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of the plugin; may be repeated.")
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="KEY[=@FILE]",
    help="A secret: asked for, or read from FILE; may be repeated.",
)
def add(
    store: str, use: str, name: str, on: str, via: str | None, settings: tuple[str, ...], secrets: tuple[str, ...]
) -> int:
    """Let a gateway hold the account NAME for the store STORE, or change it.

    Sealed to that gateway, which opens it and can necessarily read it. Exit code 1 when it cannot be opened.
    """
    given = {
        "store": store,
        "use": use,
        "name": name,
        "on": on,
        "via": via,
        "settings": dict(map(_setting, settings)),
        "secrets": dict(map(_secret, secrets)),
    }
    result = ask("account.add", given)
    emit(result, _added)
    return exits.FAILED if result["state"] == "down" else exits.OK


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise click.UsageError(f"--set {key}: write --set KEY=VALUE")
    if value[:1] not in ("[", "{"):
        return key, value
    try:
        return key, json.loads(value)
    except ValueError:
        raise click.UsageError(f"--set {key}: what begins with [ or {{ must be JSON") from None


def _secret(text: str) -> tuple[str, str]:
    """Never from the command line itself, and never repeated."""
    key, equals, value = text.partition("=")
    if not key:
        raise click.UsageError("write --secret KEY, or --secret KEY=@FILE")
    if equals and not value.startswith("@"):
        raise click.UsageError(
            f"--secret {key}: other users can read command lines, and shells keep them; "
            f"write --secret {key}=@FILE, or --secret {key} to be asked for it"
        )
    return key, _read(key, Path(value[1:])) if equals else _asked(key)


def _asked(key: str) -> str:
    if not sys.stdin.isatty():
        raise click.UsageError(f"there is no terminal to ask for {key} on; write --secret {key}=@FILE")
    given: str = click.prompt(key, hide_input=True, confirmation_prompt=True, err=True)
    return given


def _read(key: str, file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(LARGEST + 1)
        text = data.decode()
    except OSError as error:
        raise click.UsageError(f"--secret {key}: {file} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"--secret {key}: {file} is not UTF-8") from None
    if len(data) > LARGEST:
        raise click.UsageError(f"--secret {key}: {file} is larger than 64 KiB")
    return text.removesuffix("\n").removesuffix("\r")


def _added(result: Mapping[str, Any]) -> str:
    words = {"up": "is open", "sent": "is sealed to it and on its way", "unknown": "is sealed to it"}
    state = words.get(str(result["state"]), f"is {plain(result['state'])}")
    why = f": {plain(result['why'])}" if result.get("why") else ""
    return f"{plain(result['name'])} on {plain(result['node'])[:16]} {state}{why}"


@command("mesyx account list --json", group=account, name="list", table=True)
@click.argument("store", metavar="[STORE]", required=False, type=Name())
def list_(store: str | None) -> None:
    """Show the accounts of STORE, or of all stores, and what their gateways say of them. Never a secret."""
    emit(ask("account.list", {"store": store}), _listed)


def _listed(rows: list[dict[str, Any]]) -> str:
    short = [{**row, "node": str(row.get("node", ""))[:16]} for row in rows]
    columns = [name for name in COLUMNS if any(row.get(name) for row in short)]
    return table(short, columns, none="no accounts")


@command("mesyx account remove alice libera", group=account)
@click.argument("store", metavar="STORE", type=Name())
@click.argument("name", metavar="NAME", type=Name())
def remove(store: str, name: str) -> None:
    """Have the account NAME of the store STORE closed and forgotten by its gateway.

    The logs of the store keep what was sealed to that gateway, and whoever has its key can open the secrets in it:
    change the password on the account's network, too.
    """
    ask("account.remove", {"store": store, "name": name})
    click.echo(f"{name} is removed; change its password on that network, too: the logs keep it, sealed to the gateway")
