"""How a recovery kit gets to a person: it is taken only when it is on a disk or before their eyes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeAlias

import click

from mesyx_core.cli.command import ask, emit, printed
from mesyx_core.cli.show import plain

KIT = click.option(
    "--kit", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the recovery kit there too."
)
QR = click.option("--qr", is_flag=True, help="Print the recovery kit as a QR code as well.")
Said: TypeAlias = Callable[[Mapping[str, Any]], Sequence[str]]


def hand_out(verb: str, arguments: Mapping[str, Any], kit: Path | None, qr: bool, said: Said) -> None:
    """Ask for something that answers with a kit, and tell the node that it is taken once it is on the disk or printed;
    not before. `said` are the lines to print above it.
    """
    if kit is None:
        result = ask(verb, arguments)
    else:
        with _created_file(kit) as file:  # before anything is done: what cannot be written is known at once
            result = ask(verb, arguments)
            if "kit" in result:
                with _kept_elsewhere(result["name"]):
                    file.write(str(result["kit"]))
                    file.flush()
                    os.fsync(file.fileno())
                    _sync_name(kit)
        if "kit" not in result:
            kit.unlink()
    if "kit" not in result:
        emit(result, lambda _: "\n".join(said(result)))
        return
    with _kept_elsewhere(result["name"]):
        emit(result, lambda _: "\n".join([*said(result), *_shown(result, qr)]))
        printed()
    ask("store.kit_taken", {"name": result["name"]})


def made(result: Mapping[str, Any]) -> list[str]:
    """What is said of a store that is here from now on."""
    lines = ["this store was made before, and nobody had taken its recovery kit"] if result.get("again") else []
    return [
        *lines,
        f"store {plain(result.get('name'))}",
        f"id: {plain(result.get('id'))}",
        f"fingerprint: {plain(result.get('fingerprint'))}",
    ]


@contextmanager
def _kept_elsewhere(name: str) -> Iterator[None]:
    """A kit that cannot be written or printed is not lost."""
    from mesyx_core.api.errors import Refused

    try:
        yield
    except OSError as error:
        raise Refused(
            f"the recovery kit could not be handed out ({error.strerror or type(error).__name__})",
            f"the store is made and its node keeps the kit: mesyx store kit {name}",
        ) from None


def _shown(result: Mapping[str, Any], qr: bool) -> list[str]:
    lines = []
    if qr:
        from mesyx_core.cli.qr import drawn

        lines.append(drawn(str(result.get("qr") or result["kit"])))
    return [
        *lines,
        "",
        "Keep this recovery kit where this machine's loss does not reach it:",
        "",
        str(result["kit"]).rstrip(),
    ]


@contextmanager
def _created_file(path: Path) -> Iterator[TextIO]:
    """A new file for this user alone; gone again if it could not be filled."""
    from mesyx_core.api.errors import Refused

    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Refused(
            f"{path} cannot be written ({error.strerror})", "nothing was done; name a new file for the kit"
        ) from None
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)  # half a kit would be taken for one; the node keeps the whole
        raise


def _sync_name(path: Path) -> None:
    folder = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
