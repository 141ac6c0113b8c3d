"""SMTP replies (RFC 5321, section 4.2) with enhanced status codes (RFC 3463, RFC 5248)."""

from __future__ import annotations

import re
from collections.abc import Collection

from mesyx_core.api import Locked, MesyxError, Receipt, Temporary, Verdict

OK = b"250 2.0.0 OK\r\n"
SENDER_OK = b"250 2.1.0 Sender OK\r\n"
RECIPIENT_OK = b"250 2.1.5 Recipient OK\r\n"
GO_AHEAD = b"354 End with CRLF.CRLF\r\n"
CHUNK_OK = b"250 2.0.0 Chunk taken\r\n"
START_TLS = b"220 2.0.0 Ready to start TLS\r\n"
HELP = b"214 2.0.0 https://www.rfc-editor.org/rfc/rfc5321\r\n"
WILL_TRY = b"252 2.5.0 Cannot verify, but will take the message and try\r\n"

TOO_MANY_RECIPIENTS = b"452 4.5.3 Too many recipients in one message\r\n"
TOO_FAST = b"450 4.7.1 Too many messages from you just now\r\n"

LINE_TOO_LONG = b"500 5.5.2 Line too long\r\n"
BARE_LINE = b"500 5.5.2 Lines end with CRLF\r\n"
NOT_TEXT = b"500 5.5.2 Not a command\r\n"
UNKNOWN = b"500 5.5.1 Unknown command\r\n"
NOT_OFFERED = b"502 5.5.1 Not offered here\r\n"
NO_ARGUMENT = b"501 5.5.4 No argument allowed\r\n"
ARGUMENT_NEEDED = b"501 5.5.4 Argument needed\r\n"
BAD_SENDER = b"501 5.1.7 Bad sender address syntax\r\n"
BAD_RECIPIENT = b"501 5.1.3 Bad recipient address syntax\r\n"
BAD_PARAMETER = b"501 5.5.4 Bad parameter value\r\n"
UNKNOWN_PARAMETER = b"555 5.5.4 Parameter not known or not offered\r\n"
NOT_ASCII = b"553 5.6.7 Addresses beyond ASCII need SMTPUTF8\r\n"
HELLO_FIRST = b"503 5.5.1 Say EHLO first\r\n"
MAIL_FIRST = b"503 5.5.1 Need MAIL first\r\n"
MAIL_TWICE = b"503 5.5.1 Sender already given\r\n"
RECIPIENT_FIRST = b"503 5.5.1 Need RCPT first\r\n"
NO_RECIPIENTS = b"554 5.5.1 No valid recipients\r\n"
IN_CHUNKS = b"503 5.5.1 Content comes by BDAT already\r\n"
TLS_ALREADY = b"503 5.5.1 TLS is on already\r\n"
TLS_IN_MAIL = b"503 5.5.1 Not inside a mail transaction\r\n"

LOGGED_IN = b"235 2.7.0 Logged in\r\n"
LOGIN_TWICE = b"503 5.5.1 Logged in already\r\n"
LOGIN_IN_MAIL = b"503 5.5.1 Not inside a mail transaction\r\n"
LOGIN_FIRST = b"530 5.7.0 Log in first\r\n"
TLS_FIRST = b"530 5.7.0 Say STARTTLS and log in first\r\n"
LOGIN_IN_CLEAR = b"538 5.7.11 Log in under TLS only\r\n"
NO_MECHANISM = b"504 5.5.4 Mechanism not offered\r\n"
CANCELLED = b"501 5.0.0 Log-in cancelled\r\n"
NOT_BASE64 = b"501 5.5.2 Not base64\r\n"
BAD_LOGIN = b"501 5.5.2 Not what this mechanism says\r\n"
LOGIN_FAILED = b"535 5.7.8 Wrong name or app password\r\n"
TOO_MANY_LOGINS = b"421 4.7.0 Too many failed log-ins, closing\r\n"

BARE_CR_LF = b"550 5.6.0 Message has CR or LF alone; lines end with CRLF\r\n"
NUL = b"550 5.6.0 Message has NUL bytes\r\n"
TOO_BIG = b"552 5.3.4 Message too big\r\n"
LOOP = b"554 5.4.6 Too many Received headers: a mail loop\r\n"

BAD_CHUNK = b"501 5.5.4 Not BDAT SIZE [LAST], so what follows cannot be told from commands: closing\r\n"
TALKED_TOO_SOON = b"554 5.5.0 Sent content before the reply to DATA\r\n"
PLAIN_BEFORE_TLS = b"554 5.5.0 Sent more before the reply to STARTTLS\r\n"
NOT_SMTP = b"554 5.5.0 This is SMTP\r\n"
TOO_MANY_ERRORS = b"421 4.7.0 Too many errors, closing\r\n"
TOO_MUCH = b"421 4.3.4 Message far too big, closing\r\n"
TOO_MANY_CONNECTIONS = b"421 4.7.0 Too many connections\r\n"
SHUTDOWN = b"421 4.3.2 Shutting down\r\n"
TIMEOUT = b"421 4.4.2 Timed out, closing\r\n"
INTERNAL = b"451 4.3.0 Internal error, try again later\r\n"

_ENHANCED = re.compile(r"([245])\.\d{1,3}\.\d{1,3} ")


def reply(code: int, status: str, text: str) -> bytes:
    """One line. A text that begins with a fitting enhanced status code keeps it; only printable ASCII stays."""
    clean = text[:400]
    if not (clean.isascii() and clean.isprintable()):
        clean = "".join(c if " " <= c <= "~" else "?" for c in " ".join(clean.split()))
    own = _ENHANCED.match(clean)
    if own and own[1] == str(code)[0]:
        return f"{code} {clean}\r\n".encode()
    return f"{code} {status} {clean}\r\n".encode()


def foreign(identities: Collection[str]) -> bytes:
    """MAIL by somebody who may send as `identities` only."""
    may = ", ".join(sorted(identities)[:5]) or "nobody: grant the store an address first"
    return reply(553, "5.7.1", f"This log-in may not send as that address; it may send as {may}")


def recipient(verdict: Verdict) -> bytes:
    """What RCPT is answered."""
    if verdict.word != "reject":
        return RECIPIENT_OK
    if verdict.temporary:
        return reply(451, "4.3.0", verdict.reason or "Try again later")
    return reply(550, "5.1.1", verdict.reason or "No such address here")


def receipt(done: Receipt, kept: str = "sealed") -> bytes:
    """What the end of DATA is answered: 250 if it was kept for any recipient, and what `kept` means."""
    if done.accepted:
        return reply(250, "2.0.0", f"{kept} as {done.trace}") if done.trace else OK
    rejects = sorted(done.verdicts.values(), key=lambda verdict: not verdict.temporary)
    if rejects and rejects[0].temporary:
        return reply(451, "4.7.1", rejects[0].reason or "Try again later")
    return reply(550, "5.7.1", (rejects[0].reason if rejects else "") or "Message refused")


def failure(error: MesyxError, code: int = 451, status: str = "4.3.0") -> bytes:
    """What an error of the node is answered; `code` and `status` if it is temporary."""
    if isinstance(error, Locked):
        return reply(454, "4.7.0", error.what)
    if isinstance(error, Temporary):
        return reply(code, status, error.what)
    return reply(554, "5.3.0", error.what)
