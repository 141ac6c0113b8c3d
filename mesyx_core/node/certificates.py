"""TLS of listeners: the operator's certificate, or a self-signed pair that is made once and kept in the state
folder.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from mesyx_core.node.durable import make_folder, write_durably
from mesyx_core.wire.tls import TlsSettings, self_signed, server_context


@dataclass(frozen=True, slots=True)
class ListenerTls:
    """See `mesyx_core.api.Tls`."""

    mode: Literal["off", "starttls", "implicit"]
    context: ssl.SSLContext | None
    own: bool = False
    """Self-signed: clients must be told to trust it, and `doctor` says so."""


def listener_tls(settings: TlsSettings, folder: Path, name: str, now: datetime) -> ListenerTls:
    """Raises Misconfigured when the operator's files are no certificate and key."""
    if settings.mode == "off":
        return ListenerTls("off", None)
    if settings.certificate is not None:
        return ListenerTls(settings.mode, server_context(settings.certificate, settings.key))
    return ListenerTls(settings.mode, server_context(_own_pair(folder, name, now)), own=True)


def _own_pair(folder: Path, name: str, now: datetime) -> Path:
    pair = folder / "self-signed.pem"
    if not pair.exists():
        certificate, key = self_signed(name, now)
        make_folder(folder)
        write_durably(pair, certificate + key)
    return pair
