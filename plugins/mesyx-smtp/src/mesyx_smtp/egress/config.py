"""Config of an [egress.NAME] section with use = "smtp"."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

_STRICT = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Server(NamedTuple):
    """A host and a port, as `smarthost` and `resolver` name one."""

    host: str
    port: int


def server(text: str, default: int) -> Server:
    """Read host, host:port, [v6] or [v6]:port. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(default)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("is not HOST:PORT")
    return Server(host, int(port))


class Patience(BaseModel):
    """Seconds that a server gets for each step (RFC 5321, section 4.5.3.2)."""

    model_config = _STRICT

    connect: float = Field(default=30, gt=0, examples=[30])
    """Seconds to connect."""
    tls: float = Field(default=60, gt=0, examples=[60])
    """Seconds for the TLS handshake."""
    greeting: float = Field(default=300, gt=0, examples=[300])
    """Seconds until the whole greeting is there."""
    command: float = Field(default=300, gt=0, examples=[300])
    """Seconds until the whole reply to EHLO, MAIL or RCPT is there."""
    data: float = Field(default=120, gt=0, examples=[120])
    """Seconds until the reply to DATA is there."""
    block: float = Field(default=180, gt=0, examples=[180])
    """Seconds in which the server must take each 64 KiB of the message."""
    end: float = Field(default=600, gt=0, examples=[600])
    """Seconds until the reply to the whole message is there."""


class EgressConfig(BaseModel):
    """Mail to the network: by MX, or through a smarthost."""

    model_config = _STRICT

    smarthost: str = Field(default="", examples=["relay.example.org:587"])
    """host:port of the server that all mail goes to, port 587 if none is given; by the MX of each recipient's domain if
    empty."""
    username: str = Field(default="", examples=["alice"])
    """Name to log in to the smarthost with."""
    password: SecretStr | None = Field(default=None, examples=["…"])
    """Its password; only ever said over TLS, to a server whose certificate was verified."""
    tls: Literal["opportunistic", "required", "implicit"] | None = Field(default=None, examples=["required"])
    """`opportunistic`: TLS where a server offers it, with any certificate. `required`: TLS with a certificate that is
    verified, or the mail is not sent. `implicit`: the same from the first byte, to a smarthost on port 465. If not
    given: required with a password, opportunistic without."""
    tls_ca: Path | None = Field(default=None, examples=["/etc/mesyx/relay-ca.pem"])
    """PEM file of the certificates to verify against; those of the system if not given."""
    hostname: str = Field(default="", pattern=r"^[A-Za-z0-9._\-]{0,255}$", examples=["mx1.example.org"])
    """This node's name in EHLO, which should be that of its address in DNS; the node's name if that is a domain, else
    the system's."""
    bind: str = Field(default="", examples=["192.0.2.25"])
    """Local address to connect from; the system's choice if empty."""
    via: str | None = Field(default=None, examples=["tor"])
    """Name of the dialer to dial through. Names of hosts are looked up first, but not a smarthost's."""
    resolver: str = Field(default="", examples=["127.0.0.1:5353"])
    """DNS server to ask, an address with or without port; those of /etc/resolv.conf if empty."""
    port: int = Field(default=25, ge=1, le=65535, examples=[25])
    """Port on which mail exchangers are dialled; other than 25 only for tests and odd set-ups."""
    connections: int = Field(default=20, ge=1, examples=[20])
    """Connections at once, of all messages together."""
    timeouts: Patience = Patience()
    """When silence of a server ends an attempt."""

    @field_validator("smarthost")
    @classmethod
    def _smarthost(cls, value: str) -> str:
        if value:
            try:
                server(value, 587)
            except ValueError:
                raise ValueError('is not HOST:PORT; write something like "relay.example.org:587"') from None
        return value

    @field_validator("resolver")
    @classmethod
    def _resolver(cls, value: str) -> str:
        if value:
            try:
                ip_address(server(value, 53).host)
            except ValueError:
                raise ValueError('is not an address of a DNS server; write something like "127.0.0.1:53"') from None
        return value

    @field_validator("bind")
    @classmethod
    def _bind(cls, value: str) -> str:
        if value:
            try:
                ip_address(value)
            except ValueError:
                raise ValueError('is not an address of this machine; write something like "192.0.2.25"') from None
        return value

    @model_validator(mode="after")
    def _together(self) -> EgressConfig:
        if bool(self.username) != (self.password is not None):
            raise ValueError("username and password belong together; give both, or neither")
        if self.username and not self.smarthost:
            raise ValueError("username is given without smarthost; name the server to log in to, or remove it")
        if self.username and self.tls == "opportunistic":
            raise ValueError('tls = "opportunistic" would tell anybody the password; write tls = "required"')
        if self.tls == "implicit" and not self.smarthost:
            raise ValueError('tls = "implicit" is for a smarthost; write tls = "required"')
        return self

    @property
    def verified(self) -> bool:
        """Whether mail goes only over TLS with a verified certificate."""
        return self.tls in ("required", "implicit") or (self.tls is None and bool(self.username))
