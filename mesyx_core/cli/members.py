"""`mesyx store remove-node`, `suspend-node`, `resume-node`, `replace-node`: which nodes hold a store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from mesyx_core.cli.command import ask, command, emit
from mesyx_core.cli.handing import KIT, QR, hand_out
from mesyx_core.cli.show import plain
from mesyx_core.cli.signing import proposed, signing
from mesyx_core.cli.values import Name

NAME = click.argument("name", type=Name())
NODE = click.argument("node")


@command("mesyx store remove-node alice phone --passphrase-file alice.passphrase", name="remove-node", table=True)
@NAME
@NODE
@click.option("--keep-keys", is_flag=True, help="Exchange no keys: the machine is at hand, and will be wiped.")
@KIT
@QR
@signing
def remove_node(name: str, node: str, keep_keys: bool, kit: Path | None, qr: bool, by: Mapping[str, str]) -> None:
    """Let NODE hold the store NAME no longer. NODE is its name, or how its key begins.

    It is served nothing more, and of what it wrote only that counts which had come to this node. What it holds stays on
    it: of a client, the mail that its keys open. Those keys are exchanged for new ones, which the other clients get; a
    new recovery kit has those that last.
    """
    arguments = {"name": name, "member": node, "by": by, "keep_keys": keep_keys}
    hand_out("store.remove_node", arguments, kit, qr, _removed)


@command("mesyx store suspend-node alice phone", name="suspend-node", table=True)
@NAME
@NODE
@signing
def suspend_node(name: str, node: str, by: Mapping[str, str]) -> None:
    """Take all roles and rights from NODE until it is resumed. A gateway tells senders to try again later.

    For a node that is out of hand and may come back. It is served nothing meanwhile, and what it writes does not count.
    """
    emit(ask("store.suspend_node", {"name": name, "member": node, "by": by}), _said)


@command("mesyx store resume-node alice phone", name="resume-node", table=True)
@NAME
@NODE
@signing
def resume_node(name: str, node: str, by: Mapping[str, str]) -> None:
    """Give NODE the roles and rights back that it had before `suspend-node`. What it wrote meanwhile counts."""
    emit(ask("store.resume_node", {"name": name, "member": node, "by": by}), _said)


@command("mesyx store replace-node alice mx1 INVITATION", name="replace-node", table=True)
@NAME
@NODE
@click.argument("invitation")
@click.option(
    "--keys",
    type=click.Choice(["all", "short", "none"]),
    default="short",
    show_default=True,
    help="Private keys that another client gets, as with add-node.",
)
@signing
def replace_node(name: str, node: str, invitation: str, keys: str, by: Mapping[str, str]) -> None:
    """Have the node that printed INVITATION take the place of NODE, in one step.

    NODE is removed as by `remove-node`. Mail on its way out there is handed over with `mesyx queue move`.
    """
    arguments = {"name": name, "invitation": invitation, "keys": keys, "replaces": node, **by}
    emit(ask("store.add_node", arguments), lambda result: "\n".join(proposed(result)) or plain(result.get("welcome")))


def _said(result: Mapping[str, Any]) -> str:
    if waits := proposed(result):
        return "\n".join(waits)
    return f"{plain(result.get('node_name'))} is {plain(result.get('state'))}"


def _removed(result: Mapping[str, Any]) -> list[str]:
    if waits := proposed(result):
        return waits
    reads = result.get("reads") or ()
    lines = [f"{plain(result.get('node_name'))} is {plain(result.get('state'))}"]
    if reads:
        lines.append(f"it has private keys of {len(reads)} keysets: {plain([id[:16] for id in reads])}")
        if not result.get("exchanged"):
            lines.append("they were not exchanged: what is sealed to these keysets from now on it could open as well")
    return lines


COMMANDS: Final = (remove_node, suspend_node, resume_node, replace_node)
