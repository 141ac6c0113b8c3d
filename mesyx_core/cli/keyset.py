"""`mesyx keyset`: what messages are sealed to, by time and importance, and the private keys that open them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from mesyx_core.cli.command import absolute, ask, command, emit, settings
from mesyx_core.cli.passphrase import given_passphrase
from mesyx_core.cli.run import PASSPHRASE
from mesyx_core.cli.show import plain, table
from mesyx_core.cli.signing import proposed, signing
from mesyx_core.cli.values import Name

STORE = click.argument("store", metavar="STORE", type=Name())
COLUMNS: Final = ("name", "id", "from", "until", "importance", "state", "epochs", "kept_until", "keys_here")
LARGEST: Final = 1 << 20


@click.group()
def keyset() -> None:
    """Keys by time and importance: which there shall be, and the private keys of those there are."""


@command("mesyx keyset list alice", group=keyset, name="list", table=True)
@STORE
def list_(store: str) -> None:
    """Show the keysets of STORE: what they are for, which private keys are here, how many epochs are sealed to each.

    \b
    future    nothing is sealed to it yet          closed    retired: nothing is sealed to it any more
    current   in use                               due       its short-term key has been kept long enough
    ended     its time is over                     shredded  due, and that key is gone from here
    """
    emit(ask("keyset.list", {"store": store}), _listed)


def _listed(rows: Sequence[Mapping[str, Any]]) -> str:
    return table([{**row, "id": str(row["id"])[:8], "keys_here": _here(row["keys"])} for row in rows], COLUMNS)


def _here(keys: Sequence[Mapping[str, Any]]) -> str:
    """Which keys are here, and of those that are not where they were last seen."""
    said = [f"{key['sort']} {_whereabouts(key)}".rstrip() for key in keys]
    return ", ".join(sorted(dict.fromkeys(said), reverse=True))


def _whereabouts(key: Mapping[str, Any]) -> str:
    if key["here"]:
        return ""
    return f"last seen {plain(key['seen'][0]['place'])}" if key["seen"] else "never seen"


@command("mesyx keyset policy alice 'normal: weekly keep 4; high: monthly keep forever'", group=keyset, table=True)
@STORE
@click.argument("text", metavar="[POLICY]", required=False)
@click.option("--ahead", type=click.IntRange(0, 400), metavar="N", help="Future periods to publish; else 8.")
@signing
def policy(store: str, text: str | None, ahead: int | None, by: Mapping[str, str]) -> None:
    """Say which keysets STORE shall have, and publish the current one of each sort and those of the coming periods; or
    show the policy. A client that has the owner key open publishes further ones as time goes.

    \b
    POLICY    clauses, parted by ';'
    clause    [IMPORTANCE,…:] PERIOD [keep N | keep forever] [strict]
    PERIOD    daily, weekly, monthly, quarterly, yearly, 2026, 2026-11, 2026-01-01..2026-06-30 (UTC)
    keep N    the short-term key is due to be destroyed N periods after its own; else never
    strict    long-term keys do not open it
    none      as the whole POLICY: no further keysets are made

    A clause without importances is for those that no other clause names. What the last policy made and this one does
    not ask for is closed.
    """
    given = {"text": text, "ahead": ahead}
    emit(ask("keyset.policy", {"store": store, **given, "by": by}), _policy)


def _policy(result: Mapping[str, Any]) -> str:
    if waits := proposed(result):
        return "\n".join(waits)
    lines = [plain(result["policy"]), f"{result['ahead']} periods ahead"] if result["policy"] else ["no policy"]
    if result.get("periods_left") is not None:
        lines.append(f"keysets for {max(0, int(result['periods_left']))} coming periods")
    return "\n".join([*lines, *_changes(result)])


def _changes(result: Mapping[str, Any]) -> list[str]:
    """What was done, or what is to be signed for it."""
    return proposed(result) or [f"{word}: {plain(result[word])}" for word in ("made", "closed") if result.get(word)]


@command("mesyx keyset add alice 'high: 2026 keep 2' --recipients-file offline.txt", group=keyset, table=True)
@STORE
@click.argument("period", metavar="[PERIOD]", default="")
@click.option(
    "--recipient",
    "recipients",
    multiple=True,
    metavar="AGE1…",
    help="Whose private key opens it, made with age-keygen; may be repeated. Else a new key is made.",
)
@click.option("--recipients-file", type=click.Path(path_type=Path), metavar="FILE", help="Recipients, one a line.")
@click.option("--hybrid/--classic", default=None, help="Which kind of new key; else hybrid, against quantum computers.")
@click.option("--fallback", is_flag=True, help="A keyset for whenever no other is in use, under a new long-term key.")
@click.option("--name", "keyset_name", type=Name(), help="What it is called; else by its period.")
@signing
def add(
    store: str,
    period: str,
    recipients: tuple[str, ...],
    recipients_file: Path | None,
    hybrid: bool | None,
    fallback: bool,
    keyset_name: str | None,
    by: Mapping[str, str],
) -> None:
    """Make a keyset by hand. PERIOD is written as in a policy, like '2026' or 'high: 2026-11 keep 2 strict'.

    The long-term recipients are added unless it says strict. The private keys of recipients that were made elsewhere
    are not known here; `mesyx keyset import` brings them.
    """
    listed = [*recipients, *(_recipients(recipients_file) if recipients_file is not None else ())]
    given = {"frame": period, "recipients": listed, "hybrid": hybrid, "fallback": fallback, "keyset_name": keyset_name}
    emit(ask("keyset.add", {"store": store, **given, "by": by}), _added)


def _added(result: Mapping[str, Any]) -> str:
    return "\n".join(proposed(result)) or table(result["keysets"])


def _recipients(path: Path) -> list[str]:
    try:
        with path.open("r", encoding="ascii") as file:
            lines = [line.strip() for line in file.read(LARGEST).splitlines()]
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{path} holds no recipients") from None
    return [line for line in lines if line and not line.startswith("#")]


@command("mesyx keyset retire alice 2026-W48", group=keyset, table=True)
@STORE
@click.argument("names", metavar="KEYSET…", nargs=-1, required=True)
@signing
def retire(store: str, names: tuple[str, ...], by: Mapping[str, str]) -> None:
    """Close keysets of STORE: nothing is sealed to them any more, from when each node hears of it. What is sealed stays
    readable.

    Where the policy asks for such a one, another is made in its place.
    """
    given = {"store": store, "names": list(names), "by": by}
    emit(ask("keyset.retire", given), lambda result: "\n".join(_changes(result)))


@command("mesyx keyset reseal alice --from 2026-W48", group=keyset, table=True)
@STORE
@click.option("--from", "source", metavar="KEYSET", help="Else all whose short-term keys have been kept long enough.")
@click.option("--to", "target", metavar="KEYSET", help="A fallback keyset; else the one in use.")
def reseal(store: str, source: str | None, target: str | None) -> None:
    """Re-encrypt the mail of STORE from keysets that are over to the long-term one. Clients do so by themselves once a
    keyset is due.

    No message is rewritten: the seed of its epoch is sealed again. Repeated, it goes on where it was. A client that
    holds the long-term key has the old seals purged on all nodes; one that does not drops its own once they are due,
    and can read that mail no longer.

    \b
    sealed    epochs sealed to the other key now     purged    old seals that every node drops
    there     those that had been before             dropped   old seals that this node has dropped
    running   those that are still being written     locked    those that no key here opens
    """
    emit(ask("keyset.reseal", {"store": store, "source": source, "target": target}), _resealed)


def _resealed(rows: Sequence[Mapping[str, Any]]) -> str:
    return table(rows) if rows else "no keyset is due"


@command("mesyx keyset shred alice 2026-W40", group=keyset, table=True)
@STORE
@click.argument("name", metavar="KEYSET")
@click.option("--insist", is_flag=True, help="Even if something speaks against it; says first what may be lost.")
@click.option("--yes", is_flag=True, help="Do not ask at a terminal.")
def shred(store: str, name: str, insist: bool, yes: bool) -> None:
    """Destroy the private keys on this client that open KEYSET alone, and what the index knows of its messages.

    Clients do so by themselves once a keyset is due, its epochs are re-encrypted, and every gateway has signed that it
    is over. Its messages are gone from the mailboxes here; whoever has the long-term keys still reads them.
    """
    given = {"store": store, "name": name, "insist": insist}
    if sys.stdin.isatty() and not yes:
        case = ask("keyset.shred", {**given, "look": True})
        if insist or not case["against"]:
            click.echo(_at_stake(case), err=True)
            click.confirm("Destroy them?", abort=True, err=True)
    emit(ask("keyset.shred", given), _shredded)


def _at_stake(case: Mapping[str, Any]) -> str:
    lines = [f"{len(case['keys'])} private keys of {plain(case['keyset'])} will be destroyed here."]
    lines += [f"Against it: {plain(one)}." for one in case["against"]]
    if case["against"]:
        who = "nobody" if case["lost_for_all"] else "only whoever has the long-term keys"
        lines.append(f"What is sealed to {plain(case['keyset'])} alone, or comes so later, {who} will be able to read.")
    return "\n".join(lines)


def _shredded(case: Mapping[str, Any]) -> str:
    return f"{len(case['keys'])} private keys of {plain(case['keyset'])} are destroyed"


@command("mesyx keyset compromised alice 2026-W48", group=keyset, table=True)
@STORE
@click.argument("names", metavar="[KEYSET]…", nargs=-1)
@signing
def compromised(store: str, names: tuple[str, ...], by: Mapping[str, str]) -> None:
    """Say that somebody else has the short-term key of KEYSET: it is closed everywhere, another takes its place, what
    was sealed to it is sealed anew under seeds that nobody has seen, and the old ciphertext is purged on all nodes.

    Messages keep their places, flags and UIDs. The report says what was exposed, from when to when, and which nodes
    have confirmed that it is gone; it is done once all have. Without KEYSET it tells how far that is. Repeated, it goes
    on where it was; the node goes on by itself as well.
    """
    emit(ask("keyset.compromised", {"store": store, "names": list(names), "by": by}), _exposed)


def _exposed(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "no keyset is being seen to"
    shown = [{key: value for key, value in row.items() if key not in ("id", "nodes")} for row in rows]
    nodes = [
        {"keyset": row["keyset"], "node": each["name"] or each["node"][:12], **_said(each)}
        for row in rows
        for each in row["nodes"]
    ]
    return f"{table(shown)}\n\n{table(nodes)}"


def _said(node: Mapping[str, Any]) -> dict[str, Any]:
    return {"confirmed": node["confirmed"], "why": node["why"]}


@command("mesyx keyset import alice offline-key.txt", group=keyset, name="import", table=True)
@STORE
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@PASSPHRASE
def import_(store: str, file: Path, passphrase_file: Path | None) -> None:
    """Take private keys of STORE from FILE, an age identity file as age-keygen writes it. One that is itself under a
    passphrase is opened with that.

    Only keys that some keyset of the store is under are taken.
    """
    phrase = given_passphrase(passphrase_file) if passphrase_file is not None or _is_sealed(file) else {}
    emit(ask("keyset.import", {"store": store, "file": absolute(file), **phrase}), _imported)


def _is_sealed(file: Path) -> bool:
    from mesyx_core.node.identities import is_sealed

    try:
        with file.open("rb") as stream:
            return is_sealed(stream.read(64))
    except OSError:
        return False  # the node says what is wrong with it


def _imported(result: Mapping[str, Any]) -> str:
    lines = [f"{result['imported']} private keys imported"]
    if result.get("here_before"):
        lines.append(f"{result['here_before']} were here before")
    if result.get("of_no_keyset"):
        lines.append(f"{result['of_no_keyset']} open no keyset of the store")
    return "\n".join(lines)


@command("mesyx keyset export alice 2026-W48 --to week.age", group=keyset, table=True)
@STORE
@click.argument("name", metavar="KEYSET")
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Else it is printed.")
@click.option("--offline", is_flag=True, help="Move them: destroy them here once FILE is durable and was read back.")
@PASSPHRASE
def export(store: str, name: str, to: Path | None, offline: bool, passphrase_file: Path | None) -> None:
    """Write the private keys of KEYSET that are here into an age file, under the passphrase of STORE: opened with `age
    --decrypt` it is an identity file.

    Of the long-term keys only `mesyx keyset export STORE fallback` gives any. What is moved away with --offline leaves
    its messages locked here, until `mesyx keyset open` opens them for a while, or `mesyx keyset import` brings it back.
    """
    if offline and to is None:
        raise click.UsageError("--offline needs --to FILE: what is only printed is not kept")
    result = ask("keyset.export", {"store": store, "name": name, **given_passphrase(passphrase_file)})
    if to is not None:
        _write(to, str(result["file"]))
        given = {"store": store, "keys": result["keys"], "to": absolute(to)}
        ask("keyset.exported", {**given, "offline": True} if offline else given)
    if to is None or settings().json:
        emit(result, lambda _: str(result["file"]).rstrip())
    else:
        alone = ", and no longer here" if offline else ""
        click.echo(f"{len(result['keys'])} private keys of {plain(result['name'])} are in {to}{alone}")


@command("mesyx keyset open alice /media/stick/2024.age -- mbsync alice", group=keyset, name="open")
@STORE
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("words", metavar="[-- COMMAND…]", nargs=-1, type=click.UNPROCESSED)
@PASSPHRASE
def open_(store: str, file: Path, words: tuple[str, ...], passphrase_file: Path | None) -> None:
    """Open messages whose private keys are in FILE, as long as COMMAND runs; without one until FILE is removed, as when
    the stick is pulled out.

    The keys are in the node's memory meanwhile, and never on its disk. Ends with the exit code of COMMAND.
    """
    phrase = given_passphrase(passphrase_file) if passphrase_file is not None or _is_sealed(file) else {}
    process = os.getpid() if words else None
    result = ask("keyset.open", {"store": store, "file": absolute(file), "process": process, **phrase})
    if not words:
        click.echo(f"{len(result['keys'])} private keys are open until {file} is removed, or {store} is locked")
        return
    try:
        code = _run(words)
    finally:
        ask("keyset.close", {"store": store, "loan": result["loan"]})
    raise click.exceptions.Exit(code)


def _run(words: Sequence[str]) -> int:
    from mesyx_core.api.errors import Refused

    try:
        code = subprocess.run(words, check=False).returncode
    except OSError as error:
        raise Refused(f"{words[0]} cannot be run ({error.strerror})", "write a command behind --") from None
    return code if code >= 0 else 128 - code


def _write(path: Path, text: str) -> None:
    """A new file for this user alone, durable, and read back."""
    from mesyx_core.api.errors import Refused

    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            if hasattr(os, "posix_fadvise"):  # so that the disk itself is asked for it
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        folder = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        back = path.read_bytes()
    except OSError as error:
        raise Refused(f"{path} cannot be written ({error.strerror})", "name a new file") from None
    if back != text.encode("ascii"):
        raise Refused(f"{path}: what was written reads back otherwise", "that disk fails; nothing was destroyed here")
