"""The content scanner gives the same bytes however they were split, and agrees with a plain reading of the RFC."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from mesyx_smtp import replies
from mesyx_smtp.data import Scanner

PIECES = st.lists(
    st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"a", b"\0", b"\r\n.", b"..", b"\r\n.\r\n"]), max_size=25
)


def read(text: bytes, steps: list[int]) -> tuple[bytes, bytes | None, bool, bytes]:
    """What comes out when `text` is fed in pieces of these sizes, the last size repeated."""
    scanner = Scanner(1_000_000, 100)
    content, at = b"", 0
    while at < len(text) and not scanner.ended:
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        content += scanner.feed(text[at : at + step])
        at += step
    return b"" if scanner.fault else content, scanner.fault, scanner.ended, scanner.rest + text[at:]


def plainly(text: bytes) -> tuple[bytes, bytes | None, bytes]:
    """RFC 5321, section 4.5.2, line by line, on a message that has its end."""
    stuffed, _, rest = (b"\r\n" + text).partition(b"\r\n.\r\n")
    stuffed += b"\r\n"
    alone = stuffed.replace(b"\r\n", b"")
    if b"\r" in alone or b"\n" in alone:
        return b"", replies.BARE_CR_LF, rest
    if b"\0" in stuffed:
        return b"", replies.NUL, rest
    lines = [line.removeprefix(b".") for line in stuffed.split(b"\r\n")]
    return b"\r\n".join(lines)[2:], None, rest


@given(PIECES, st.lists(st.integers(1, 7), min_size=1, max_size=40))
def test_any_split_reads_as_the_rfc_says(pieces: list[bytes], steps: list[int]) -> None:
    text = b"".join(pieces) + b"\r\n.\r\nrest"
    content, fault, ended, rest = read(text, steps)
    wanted, wrong, after = plainly(text)
    assert ended
    assert rest == after
    assert content == wanted
    assert (fault is None) == (wrong is None)


@given(st.binary(max_size=200), st.integers(1, 9))
def test_what_a_client_stuffs_comes_out_as_it_was(body: bytes, step: int) -> None:
    body = b"\r\n".join(body.replace(b"\0", b"").replace(b"\r", b"").split(b"\n")) + b"\r\n"
    lines = body.split(b"\r\n")[:-1]
    stuffed = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
    assert read(stuffed + b".\r\n", [step]) == (body, None, True, b"")


def test_an_empty_message() -> None:
    assert read(b".\r\nMAIL", [1]) == (b"", None, True, b"MAIL")
    assert read(b"\r\n.\r\n", [1]) == (b"\r\n", None, True, b"")


def test_little_is_held_back_between_chunks() -> None:
    scanner = Scanner(10**9, 100)
    out = sum(len(scanner.feed(b"x" * 1000)) for _ in range(1000))
    assert out == 1_000_000
