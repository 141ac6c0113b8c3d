"""A header's envelope (RFC 3501, section 7.4.2)."""

from __future__ import annotations

from datetime import UTC, datetime

from mesyx_core import mime


def test_values_are_unfolded_and_otherwise_as_they_stand() -> None:
    found = mime.envelope(b"Subject:  =?utf-8?q?a?=\r\n\t b  \r\nMessage-ID:\r\n <x@y>\r\nDate: never\r\n\r\n")
    assert (found.subject, found.message_id, found.date) == (b"=?utf-8?q?a?= b", b"<x@y>", b"never")


def test_a_missing_field_is_none_and_an_empty_one_is_empty() -> None:
    missing = mime.envelope(b"X: y\r\n\r\n")
    assert missing == mime.Envelope()
    empty = mime.envelope(b"Date:\r\nSubject: \r\nTo:\r\nIn-Reply-To:\r\nMessage-ID: \r\n\r\n")
    assert empty == mime.Envelope(date=b"", subject=b"", in_reply_to=b"", message_id=b"")


def test_sender_and_reply_to_default_to_from() -> None:
    found = mime.envelope(b"From: a@b\r\nSender: \r\nReply-To: c@d\r\n\r\n")
    assert found.sender == found.from_ == (mime.Address(None, None, b"a", b"b"),)
    assert found.reply_to == (mime.Address(None, None, b"c", b"d"),)


def test_repeated_address_fields_add_up_and_of_other_repeated_fields_the_last_counts() -> None:
    found = mime.envelope(b"To: a@b\r\nSubject: first\r\nto: c@d\r\nSubject: last\r\n\r\n")
    assert [address.mailbox for address in found.to] == [b"a", b"c"]
    assert found.subject == b"last"


def test_no_value_has_a_line_end_or_a_nul() -> None:
    found = mime.envelope(b"Subject: a\0b\r\r\n c\rd \xe4\r\nFrom: x\0 <y\0@z>\r\n\r\n")
    assert found.subject == b"a\xef\xbf\xbdb c d \xe4"
    assert found.from_ == (mime.Address(b"x\xef\xbf\xbd", None, b"y\xef\xbf\xbd", b"z"),)


def test_lines_that_are_no_fields_are_passed_over() -> None:
    found = mime.envelope(
        b"From someone Thu\r\nSubject : a\r\nnonsense\r\n: b\r\nSUBJECT\r\nFrom: x@y\r\n\r\nSubject: c"
    )
    assert found.subject == b"a"
    assert len(found.from_) == 1


def test_bare_line_feeds_end_lines_too() -> None:
    assert mime.envelope(b"Subject: a\n b\nFrom: x@y\n\nTo: z@z\n") == mime.envelope(
        b"Subject: a b\r\nFrom: x@y\r\n\r\n"
    )


def test_a_body_alone_has_no_envelope() -> None:
    assert mime.envelope(b"\r\nSubject: not a header\r\n") == mime.Envelope()
    assert mime.envelope(b"\nSubject: not a header\r\n") == mime.Envelope()
    assert mime.envelope(b"") == mime.Envelope()


def test_a_summary_has_all_that_an_index_stores() -> None:
    data = (
        b"Date: Thu, 22 Aug 2002 12:36:23 -0000 (UTC)\r\nMessage-ID:  (first) <1@x> \r\n"
        b"References: <a@x> junk\r\n <b@x><a@x>\r\nIn-Reply-To: <c@x> (of yours), <b@x>\r\n\r\nbody"
    )
    found = mime.summary(data)
    assert found.envelope == mime.envelope(data)
    assert found.part == mime.index(data)
    assert found.date == datetime(2002, 8, 22, 12, 36, 23, tzinfo=UTC)
    assert found.message_id == "1@x"
    assert found.references == ("a@x", "b@x", "c@x")
    assert data[slice(*found.header_range)].endswith(b"<b@x>\r\n\r\n")


def test_a_summary_of_nothing_is_empty() -> None:
    assert mime.summary(b"") == mime.Summary(mime.Envelope(), mime.Part(), None, "", (), (0, 0))


def test_only_the_last_hundred_references_count() -> None:
    data = b"References: " + b"".join(b"<%d@x> " % i for i in range(3000)) + b"\r\n\r\n"
    assert mime.summary(data).references == tuple(f"{i}@x" for i in range(2900, 3000))


def test_a_message_id_without_brackets_is_taken_as_it_is() -> None:
    assert mime.summary(b"Message-ID: 17\r\n\r\n").message_id == "17"
