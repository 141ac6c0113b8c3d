"""`[transport.https]`, and the addresses of this transport."""

from __future__ import annotations

from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mesyx_core.wire.tls import ImplicitTls

SCHEMES: Final = {"https": 443, "http": 80}
"""Scheme to port. `http` is for a node whose TLS is done elsewhere, or for loopback."""
LONGEST_PATH: Final = 1024


class Target(NamedTuple):
    """Where an address leads."""

    tls: bool
    host: str
    """Without brackets."""
    port: int
    path: str

    @property
    def connect(self) -> str:
        """host:port to dial."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def authority(self) -> str:
        """For the Host header (RFC 9110, section 7.2): the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def parse(address: str) -> Target:
    """Raises ValueError, worded to follow "the address …"."""
    url = urlsplit(address)
    if url.scheme not in SCHEMES or not url.hostname:
        raise ValueError("is not one of this transport: write https://HOST[:PORT][/PATH]")
    if url.query or url.fragment or url.username is not None:
        raise ValueError("has more than host, port and path")
    path = url.path or "/"
    if len(path) > LONGEST_PATH or not path.isascii() or not path.isprintable() or " " in path:
        raise ValueError("has a path that cannot be sent as it is")
    return Target(url.scheme == "https", url.hostname, url.port or SCHEMES[url.scheme], path)


class HttpsConfig(BaseModel):
    """`[transport.https]`"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: str = Field("", description="host:port to listen on; empty: only dials.", examples=["0.0.0.0:8443"])
    address: str = Field(
        "",
        description="URL under which other nodes dial this one, as seen from outside.",
        examples=["https://mx1.example.org:8443", "https://www.example.org/mesyx"],
    )
    path: str = Field(
        "",
        description="Path on which nodes are taken, by default that of `address`; set it where a proxy changes it.",
        examples=["/mesyx"],
        pattern=r"^(/[!-~]*)?$",
        max_length=LONGEST_PATH,
    )
    tls: ImplicitTls = Field(
        default_factory=lambda: ImplicitTls(),
        description='TLS of the listener: "implicit", or "off" behind a proxy that does it.',
    )
    via: str | None = Field(None, description="Name of the dialer to dial through.")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.address:
            try:
                parse(self.address)
            except ValueError as error:
                raise ValueError(f"address {error}") from None
        if self.tls.mode == "starttls":
            raise ValueError('tls.mode: HTTPS has no STARTTLS: write "implicit", or "off" behind a proxy')
        return self

    @property
    def taken(self) -> str:
        """The path on which nodes are taken."""
        return self.path or (parse(self.address).path if self.address else "/")
