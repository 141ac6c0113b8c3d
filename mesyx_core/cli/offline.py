"""`mesyx store owner-key`, `sign` and `govern`: an owner key that no node has, on a machine without a network."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mesyx_core.cli.command import ask, command
from mesyx_core.cli.passphrase import given_passphrase
from mesyx_core.cli.run import OWNER_KEY, PASSPHRASE
from mesyx_core.cli.show import plain
from mesyx_core.cli.values import Name

if TYPE_CHECKING:
    from mesyx_core.vault.names import Names
    from mesyx_core.vault.proposal import Proposal

NAME = click.argument("name", type=Name())
FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@command("mesyx store owner-key alice --move-to /media/stick/alice.owner-key", name="owner-key")
@NAME
@click.option(
    "--move-to",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    required=True,
    help="A new file, on what you take out of this machine.",
)
@PASSPHRASE
def owner_key(name: str, move_to: Path, passphrase_file: Path | None) -> None:
    """Move the owner key of the store NAME away from this node, into a file.

    The file holds it in clear. From then on `mesyx store sign` signs with it, on a machine of its own; commands that
    change nodes and keys take --proposal here.
    """
    from mesyx_core.api import Refused

    by = given_passphrase(passphrase_file)
    key = str(ask("store.owner_key", {"name": name, "by": by})["key"])
    _write(move_to, f"# mesyx owner key of store {name}\n{key}\n")
    if _read(move_to).split()[-1] != key:
        raise Refused(f"{move_to}: does not hold what was written", "the key stays here; name another file")
    ask("store.owner_key_taken", {"name": name, "key": key, "by": by})
    click.echo(f"{name} is governed from {move_to}")


@command("mesyx store sign remove-phone --owner-key /media/stick/alice.owner-key")
@FILE
@OWNER_KEY
@click.option(
    "--kit",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The recovery kit, in the place of the owner key; it shows names as well.",
)
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Else FILE.signed.")
@click.option("--yes", is_flag=True, help="Sign without asking.")
@PASSPHRASE
def sign(
    file: Path, owner_key: Path | None, kit: Path | None, to: Path | None, yes: bool, passphrase_file: Path | None
) -> None:
    """Sign what FILE proposes, once you have read what it changes.

    Needs neither node nor network. The next step, on the node: `mesyx store govern NAME FILE.signed`.
    """
    from mesyx_core.api import Refused
    from mesyx_core.vault.manifest import ManifestError, owner_public
    from mesyx_core.vault.manifest import sign as signed
    from mesyx_core.vault.proposal import read_proposal, signed_file

    if (owner_key is None) == (kit is None):
        raise click.UsageError("give --owner-key FILE or --kit FILE")
    try:
        proposal = read_proposal(_read(file))
    except ManifestError as error:
        raise Refused(f"{file}: {error}", "name a file that --proposal wrote") from error
    keys, names = _key(owner_key) if owner_key is not None else _kit(kit, passphrase_file, proposal)
    private = next((key for key in keys if owner_public(key) == proposal.manifest.owner), None)
    if private is None:
        raise Refused(f"{file}: not to be signed with this key", "take the owner key of that store")
    click.echo(_words(proposal, names), err=True)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("no terminal to ask at; give --yes")
        click.confirm("Sign this?", abort=True, err=True)
    target = to or file.with_name(f"{file.name}.signed")
    _write(target, signed_file(signed(proposal.manifest, private)))
    click.echo(f"signed: {target}")


@command("mesyx store govern alice remove-phone.signed")
@NAME
@FILE
def govern(name: str, file: Path) -> None:
    """Have a manifest in effect that was proposed here and signed elsewhere."""
    result = ask("store.govern", {"name": name, "document": _read(file)})
    click.echo(f"{name}: manifest {plain(result.get('manifest'))} is in effect")


def _words(proposal: Proposal, names: Names | None) -> str:
    from mesyx_core.vault.manifest import parse
    from mesyx_core.vault.proposal import changes

    lines = [f"{plain(proposal.store)}, manifest {proposal.manifest.number}"]
    for parent in proposal.parents:
        before = parse(parent)
        if len(proposal.parents) > 1:
            lines.append(f" beside manifest {before.number} ({before.hash.hex()[:16]}):")
        lines += [f"  {plain(change)}" for change in changes(before, proposal.manifest, names)] or ["  nothing"]
    return "\n".join(lines)


def _key(file: Path) -> tuple[tuple[bytes, ...], None]:
    from mesyx_core.api import Refused

    try:
        return (bytes.fromhex(_read(file).split()[-1]),), None
    except (ValueError, IndexError):
        raise Refused(f"{file}: no owner key can be read", "its last word is 64 hex digits") from None


def _kit(kit: Path | None, passphrase_file: Path | None, proposal: Proposal) -> tuple[tuple[bytes, ...], Names | None]:
    from mesyx_core.node.kit import opened
    from mesyx_core.node.secrets import passphrase
    from mesyx_core.vault import age
    from mesyx_core.vault.manifest import parse
    from mesyx_core.vault.names import NamesError, open_

    assert kit is not None
    text = _read(kit)
    given = given_passphrase(passphrase_file)
    phrase = passphrase(Path(given["passphrase_file"])) if "passphrase_file" in given else given["passphrase"]
    found = opened([text], phrase)
    identities = [age.parse_identity(each) for each in found.identities]
    names = None
    for manifest in (proposal.manifest, *map(parse, proposal.parents)):  # what is removed has its name in the old one
        with suppress(NamesError):
            known = open_(manifest.names, identities)
            names = known if names is None else replace(names, nodes={**known.nodes, **names.nodes})
    return tuple(key for key in (found.owner, found.following) if key is not None), names


def _read(path: Path) -> str:
    from mesyx_core.api import Refused
    from mesyx_core.vault.proposal import LARGEST

    try:
        with path.open("r", encoding="ascii") as stream:
            return stream.read(2 * LARGEST + 1)
    except UnicodeDecodeError:
        raise Refused(f"{path}: is no such file", "name the one that mesyx wrote") from None


def _write(path: Path, text: str) -> None:
    """A new file, for this user alone, durable. Raises Refused where there is one, OSError."""
    from mesyx_core.api import Refused

    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Refused(f"{path}: is there already", "name a new file") from None
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(handle)


COMMANDS: Final = (owner_key, sign, govern)
