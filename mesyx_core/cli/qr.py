"""QR codes for a terminal."""

from __future__ import annotations

import io

import click


def drawn(text: str) -> str:
    """The text as a QR code of half-block characters. Raises UsageError when it is too long for one."""
    import segno

    try:
        code = segno.make(text, micro=False, error="l", boost_error=False)
    except segno.DataOverflowError:
        raise click.UsageError("this is too long for a QR code; leave out --qr") from None
    out = io.StringIO()
    code.terminal(out=out, compact=True)
    return out.getvalue().rstrip("\n")
