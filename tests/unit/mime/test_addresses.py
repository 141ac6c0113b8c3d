"""Address fields as ENVELOPE shows them (RFC 3501, section 7.4.2; RFC 5322, section 3.4)."""

from __future__ import annotations

import pytest

from mesyx_core import mime

Shown = tuple[bytes | None, bytes | None, bytes | None, bytes | None]
END: Shown = (None, None, None, None)
NO_DOMAIN = b"MISSING_DOMAIN"
NO_MAILBOX = b"MISSING_MAILBOX"


def to(value: bytes) -> list[Shown]:
    return [(a.name, a.route, a.mailbox, a.host) for a in mime.envelope(b"To: " + value + b"\r\n\r\n").to]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"a@b", (None, None, b"a", b"b")),
        (b"<c@d>", (None, None, b"c", b"d")),
        (b'"a b" <c@d>', (b"a b", None, b"c", b"d")),
        (b"a  b <c@d>", (b"a b", None, b"c", b"d")),
        (b"a.b <c@d>", (b"a.b", None, b"c", b"d")),
        (b"foo<a@b>", (b"foo", None, b"a", b"b")),
        (b'foo "bar"  baz <c@d>', (b"foo bar baz", None, b"c", b"d")),
        (b'"foo, bar" <a@b>', (b"foo, bar", None, b"a", b"b")),
        (b'"" <a@b>', (None, None, b"a", b"b")),
        (b"=?utf-8?q?a?= <a@b>", (b"=?utf-8?q?a?=", None, b"a", b"b")),
        (b"=?utf-8?q?a?=\r\n =?utf-8?q?b?= <a@b>", (b"=?utf-8?q?a?= =?utf-8?q?b?=", None, b"a", b"b")),
        (b'"a\r\n b" <a@b>', (b"a b", None, b"a", b"b")),
        (b"a\tb <a@b>", (b"a b", None, b"a", b"b")),
        (b'"quo\\"ted" <"lo cal"@d>', (b'quo"ted', None, b"lo cal", b"d")),
        (b'"Joe\\\\ \\q" <a@b>', (b"Joe\\ q", None, b"a", b"b")),
        (b"a@[1.2.3.4]", (None, None, b"a", b"[1.2.3.4]")),
        (b"a <b@[IPv6:::1]>", (b"a", None, b"b", b"[IPv6:::1]")),
    ],
)
def test_an_address_has_a_name_a_mailbox_and_a_host(value: bytes, shown: Shown) -> None:
    assert to(value) == [shown]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"c@d (foo)", (b"foo", None, b"c", b"d")),
        (b"c@d (foo (bar) baz)", (b"foo (bar) baz", None, b"c", b"d")),
        (b"a@b.c (x) (y)", (b"y", None, b"a", b"b.c")),
        (b"foo (bar) <c@d>", (b"foo", None, b"c", b"d")),
        (b"foo <a@b (com)>", (b"foo", None, b"a", b"b")),
        (b"a@b (x \\) y)", (b"x ) y", None, b"a", b"b")),
    ],
)
def test_a_comment_names_an_address_that_has_no_other_name(value: bytes, shown: Shown) -> None:
    assert to(value) == [shown]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"<@r1,@r2:a@b>", [(None, b"@r1,@r2", b"a", b"b")]),
        (b"foo <@r1:a@b>, c@d", [(b"foo", b"@r1", b"a", b"b"), (None, None, b"c", b"d")]),
        (b"a . b @ c . d", [(None, None, b"a.b", b"c.d")]),
        (b"foo <a @ b . c>", [(b"foo", None, b"a", b"b.c")]),
        (b'foo <"a"."b"@c>', [(b"foo", None, b"a.b", b"c")]),
        (b"c@d,, e@f,", [(None, None, b"c", b"d"), (None, None, b"e", b"f")]),
    ],
)
def test_obsolete_forms_are_read(value: bytes, shown: list[Shown]) -> None:
    assert to(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"grp: a@b, c@d;", [(None, None, b"grp", None), (None, None, b"a", b"b"), (None, None, b"c", b"d"), END]),
        (b"undisclosed-recipients:;", [(None, None, b"undisclosed-recipients", None), END]),
        (b"grp: a@b", [(None, None, b"grp", None), (None, None, b"a", b"b"), END]),
        (
            b'"my grp": x <a@b>;, c@d',
            [(None, None, b"my grp", None), (b"x", None, b"a", b"b"), END, (None, None, b"c", b"d")],
        ),
    ],
)
def test_a_group_stands_between_its_markers(value: bytes, shown: list[Shown]) -> None:
    assert to(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"foo", [(None, None, b"foo", NO_DOMAIN)]),
        (b"foo@", [(None, None, b"foo", NO_DOMAIN)]),
        (b"foo <bar>", [(b"foo", None, b"bar", NO_DOMAIN)]),
        (b"@foo", [(None, None, NO_MAILBOX, b"foo")]),
        (b"foo <>", [(b"foo", None, NO_MAILBOX, NO_DOMAIN)]),
        (b"foo bar", [(b"foo bar", None, NO_MAILBOX, NO_DOMAIN)]),
        (b"foo, bar <a@b>", [(None, None, b"foo", NO_DOMAIN), (b"bar", None, b"a", b"b")]),
    ],
)
def test_half_an_address_never_looks_like_a_group(value: bytes, shown: list[Shown]) -> None:
    assert to(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"a@b <c@d>", [(b"a@b", None, b"c", b"d")]),
        (b"<<a@b>>", [(None, None, b"a", b"b")]),
        (b"<a@b", [(None, None, b"a", b"b")]),
        (b"<a@b, c@d>", [(None, None, b"a", b"b"), (None, None, b"c", b"d")]),
        (b"a@b; c@d", [(None, None, b"a", b"b"), (None, None, b"c", b"d")]),
        (b"foo [bar] <a@b>", [(b"foo [bar]", None, b"a", b"b")]),
        (b"fo\xf6 <\xe4@b>", [(b"fo\xf6", None, b"\xe4", b"b")]),
        (b"a@b c@d", [(None, None, b"a", b"b")]),
        (b"foo a@b", [(b"foo", None, b"a", b"b")]),
        (b"(foo <a@b>", []),
        (b"()", []),
        (b" ", []),
        (b"a\\b <a@b>", [(b"a\\b", None, b"a", b"b")]),
        (b"foo <a b@c>", [(b"foo", None, b"a b", b"c")]),
    ],
)
def test_broken_addresses_show_what_can_be_read(value: bytes, shown: list[Shown]) -> None:
    assert to(value) == shown


def test_five_hundred_nested_comments_are_one_comment() -> None:
    (address,) = mime.envelope(b"To: a@b " + b"(" * 500 + b"x" + b")" * 500 + b"\r\n").to
    assert address.name == b"(" * 499 + b"x" + b")" * 499
    assert address[2:] == (b"a", b"b")


def test_an_address_is_written_as_people_do() -> None:
    envelope = mime.envelope(b"To: =?utf-8?q?J=C3=B6rg?= <j@x>, a@b, the group: c@d;\r\n")
    assert [mime.decode_address(address) for address in envelope.to] == ["Jörg <j@x>", "a@b", "the group", "c@d", ""]
