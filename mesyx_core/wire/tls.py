"""TLS of listeners: settings for a plugin's config, the server context, and a self-signed pair where none is given."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mesyx_core.api import Misconfigured


class TlsSettings(BaseModel):
    """The `tls` table of a listener: STARTTLS unless told otherwise. `Context.tls` takes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    mode: Literal["off", "starttls", "implicit"] = Field(default="starttls", examples=["starttls"])
    """How TLS begins on this listener."""
    certificate: Path | None = Field(default=None, examples=["/etc/mesyx/mx1.pem"])
    """PEM file with the certificate, then its chain; a self-signed pair is made if neither is given."""
    key: Path | None = Field(default=None, examples=["/etc/mesyx/mx1.key"])
    """PEM file with the private key; may be left out if that is in the certificate's file."""

    @model_validator(mode="after")
    def _pair(self) -> TlsSettings:
        if self.key is not None and self.certificate is None:
            raise ValueError("tls.key is given without tls.certificate: give both, or neither for a self-signed pair")
        return self


class ImplicitTls(TlsSettings):
    """TLS from the first byte unless told otherwise."""

    mode: Literal["off", "starttls", "implicit"] = Field(default="implicit", examples=["implicit"])
    """How TLS begins on this listener."""


def private(*, local: bool, secure: bool) -> bool:
    """Whether a password may cross: under TLS, or on this machine. `local`: as `Peer.local`."""
    return secure or local


def in_clear(listen: str, settings: TlsSettings) -> bool:
    """Whether passwords would cross a network in clear: no TLS, and another address than loopback."""
    host = listen.rpartition(":")[0].strip("[]")
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    return settings.mode == "off" and not loopback


def server_context(certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    """TLS 1.2 and newer, with this certificate. Reads the files. Raises Misconfigured, naming the file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except OSError as error:
        broken = "cannot be read" if not isinstance(error, ssl.SSLError) else "is not a PEM certificate with its key"
        raise Misconfigured(f"tls.certificate {certificate} {broken}", "give PEM files that belong together") from None
    return context


def self_signed(name: str, now: datetime, days: int = 3650) -> tuple[bytes, bytes]:
    """A fresh P-256 certificate for host `name`, and its key, both PEM; draws its own randomness."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private


def _no_password() -> str:
    raise Misconfigured(
        "tls.key is protected by a passphrase", "give a key file without one, readable by the node only"
    )
