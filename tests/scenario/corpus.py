"""The 3,000 real mails that scenario tests send: as a sender has them, with CRLF and without mbox's own line."""

from __future__ import annotations

import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_TRACE = re.compile(rb"Return-Path: <[^\r\n]*>\r\n(?:Received: from [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)+")


def archive() -> Path:
    """Where they are: tests/corpus, or what MESYX_CORPUS names. Fails when they are not there."""
    given = os.environ.get("MESYX_CORPUS")
    place = Path(given) if given else Path(__file__).resolve().parents[1] / "corpus" / "mail.tar.xz"
    assert place.is_file(), f"no corpus of mails at {place}: name its archive in MESYX_CORPUS"
    return place


@cache
def mails() -> tuple[bytes, ...]:
    """All of them, in the order of their names."""
    found = {}
    with tarfile.open(archive()) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() and member.name.endswith(".txt") else None
            if file is not None:
                found[member.name] = _wire(file.read())
    assert len(found) == 3000, f"{archive()} holds {len(found)} mails"
    return tuple(found[name] for name in sorted(found))


def some(count: int) -> tuple[bytes, ...]:
    """As many, evenly from all, with the largest among them."""
    everything = mails()
    if count >= len(everything):
        return everything
    largest = max(everything, key=len)
    chosen = [everything[i * len(everything) // count] for i in range(count)]
    return tuple(chosen) if largest in chosen else (largest, *chosen[1:])


def _wire(raw: bytes) -> bytes:
    if raw.startswith(b"From "):
        raw = raw.partition(b"\n")[2]
    return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def compare(sent: Iterable[bytes], came: Iterable[bytes], hops: int) -> None:
    """Each mail that was sent came exactly once and whole, with the trace headers of exactly `hops` servers on top."""
    missing, strange = Counter(sent), 0
    for mail in came:
        body = next((rest for rest in _below(mail, hops) if missing[rest] > 0), None)
        if body is None:
            strange += 1
        else:
            missing[body] -= 1
    lost = sum(missing.values())
    assert (lost, strange) == (0, 0), f"{lost} mails are missing, {strange} are changed or came twice"


def _below(mail: bytes, hops: int) -> Iterable[bytes]:
    """What may be the mail below the trace headers: its own first line may look like one that goes on."""
    trace = _TRACE.match(mail)
    position, received = 0, 0
    while trace is not None and position < trace.end():
        end = mail.index(b"\n", position) + 1
        received += mail.startswith(b"Received:", position)
        position = end
        if received == hops:
            yield mail[position:]
        elif received > hops:
            return
