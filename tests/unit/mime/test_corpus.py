"""Three thousand real mails, read by us, by the standard library and by fast-mail-parser.

The corpus is tests/corpus/mail.tar.xz, or the archive that MESYX_CORPUS names. Where the
other two agree with one another, we agree with them; where they do not, nobody is right.
"""

from __future__ import annotations

import email
import email.header
import email.utils
import os
import tarfile
import time
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import NamedTuple, TypeAlias

import fast_mail_parser
import pytest

from mesyx_core import mime

Mail: TypeAlias = "Message[str, str]"
PER_SECOND = 3000


class Read(NamedTuple):
    data: bytes
    found: mime.Summary
    stdlib: Mail


def corpus() -> Iterator[bytes]:
    """Each mail as it came over the wire: without the mbox line, with CR LF."""
    named = os.environ.get("MESYX_CORPUS")
    with tarfile.open(Path(named) if named else Path(__file__).parents[2] / "corpus" / "mail.tar.xz") as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is not None:
                data = file.read()
                if data.startswith(b"From "):
                    data = data.partition(b"\n")[2]
                yield data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


@pytest.fixture(scope="module")
def mails() -> list[Read]:
    return [Read(data, mime.summary(data), email.message_from_bytes(data)) for data in corpus()]


def leaves(part: mime.Part) -> Iterator[mime.Part]:
    if part.message is not None:
        yield from leaves(part.message.part)
    elif part.type == b"multipart":
        for child in part.parts:
            yield from leaves(child)
    else:
        yield part


def spaced(text: str) -> str:
    return " ".join(text.split())


def fast(data: bytes) -> fast_mail_parser.PyMail | None:
    try:
        return fast_mail_parser.parse_email(data)
    except fast_mail_parser.ParseError:
        return None


def subject(mail: Mail) -> str | None:
    try:
        return str(email.header.make_header(email.header.decode_header(mail["subject"] or "")))
    except (LookupError, UnicodeError, ValueError):
        return None


def test_all_of_it_is_there(mails: list[Read]) -> None:
    assert len(mails) == 3000
    assert all(found.part.end == len(data) for data, found, _ in mails)


def test_types_of_all_parts_are_those_of_the_standard_library(mails: list[Read]) -> None:
    differing = 0
    for _, found, stdlib in mails:
        ours = [(part.type + b"/" + part.subtype).decode() for part in leaves(found.part)]
        theirs = [part.get_content_type() for part in stdlib.walk() if not part.is_multipart()]
        differing += ours != theirs
    assert differing <= 4  # it reads delivery reports as messages


def test_decoded_leaves_are_those_of_the_standard_library(mails: list[Read]) -> None:
    same = differing = 0
    for data, found, stdlib in mails:
        ours = [mime.decoded_body(data, part) for part in leaves(found.part)]
        theirs = [part.get_payload(decode=True) for part in stdlib.walk() if not part.is_multipart()]
        if len(ours) == len(theirs):
            for left, right in zip(ours, theirs, strict=True):
                same += left == right
                differing += left != right
    assert same > 3100
    assert differing <= 4  # base64 that breaks off, which it leaves encoded; garbage after a closing boundary


def test_subjects_are_those_that_both_others_read(mails: list[Read]) -> None:
    compared = 0
    for data, found, stdlib in mails:
        other = fast(data)
        if other is not None and (theirs := subject(stdlib)) is not None and spaced(theirs) == spaced(other.subject):
            assert spaced(mime.decode_words(found.envelope.subject or b"")) == spaced(theirs)
            compared += 1
    assert compared > 2950


def test_text_parts_are_found_in_our_texts(mails: list[Read]) -> None:
    compared = missing = 0
    for data, found, _ in mails:
        other = fast(data)
        if other is not None:
            ours = spaced(" ".join(mime.body_texts(data, found.part)))
            compared += len(other.text_plain)
            missing += sum(spaced(text) not in ours for text in other.text_plain)
    assert compared > 2700
    assert missing <= 10  # with charsets that are not what they say


def test_dates_are_those_of_the_standard_library(mails: list[Read]) -> None:
    compared = 0
    for _, found, stdlib in mails:
        theirs = email.utils.parsedate_tz(stdlib["date"] or "")
        if found.date is not None and theirs is not None and theirs[0] >= 1900:
            compared += found.date.timestamp() == email.utils.mktime_tz(theirs)
    assert compared > 2970


def test_senders_are_those_of_the_standard_library(mails: list[Read]) -> None:
    same = 0
    for _, found, stdlib in mails:
        theirs = [address for _, address in email.utils.getaddresses(map(str, stdlib.get_all("from", [])))]
        ours = [
            f"{(a.mailbox or b'').decode('latin-1')}@{(a.host or b'').decode('latin-1')}" for a in found.envelope.from_
        ]
        same += theirs == ours
    assert same > 2980


def test_sections_put_together_are_the_message(mails: list[Read]) -> None:
    for data, found, _ in mails:
        header, text = mime.section(found.part, (), "HEADER"), mime.section(found.part, (), "TEXT")
        assert header is not None
        assert text is not None
        assert data[slice(*header)] + data[slice(*text)] == data
        assert header == found.header_range


def test_bare_line_feeds_give_the_same_structure(mails: list[Read]) -> None:
    for data, found, _ in mails[::7]:
        bare = mime.summary(data.replace(b"\r\n", b"\n"))
        assert bare.envelope == found.envelope
        assert [p[:11] for p in leaves(bare.part)] == [p[:11] for p in leaves(found.part)]
        assert [p.lines for p in leaves(bare.part)] == [p.lines for p in leaves(found.part)]


def test_what_is_packed_comes_back(mails: list[Read]) -> None:
    for _, found, _ in mails:
        assert mime.unpack_envelope(mime.pack_envelope(found.envelope)) == found.envelope
        assert mime.unpack_part(mime.pack_part(found.part)) == found.part


def test_mails_are_summed_up_fast_enough(mails: list[Read]) -> None:
    best = 1e9
    for _ in range(3):
        start = time.process_time()
        for data, _, _ in mails:
            mime.summary(data)
        best = min(best, time.process_time() - start)
    assert len(mails) / best > PER_SECOND
