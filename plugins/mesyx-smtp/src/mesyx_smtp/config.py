"""Config of [ingress.NAME] and [access.NAME] sections with use = "smtp"."""

from __future__ import annotations

from pydantic import BaseModel, ByteSize, ConfigDict, Field, model_validator

from mesyx_core.wire.tls import TlsSettings, in_clear
from mesyx_smtp.limits import Limits

_STRICT = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Timeouts(BaseModel):
    """Seconds before the server gives up on a peer (RFC 5321, section 4.5.3.2)."""

    model_config = _STRICT

    command: float = Field(default=300, gt=0, examples=[300])
    """Seconds between a reply and the end of the next command."""
    data: float = Field(default=180, gt=0, examples=[180])
    """Seconds between two pieces of a message's content."""
    message: float = Field(default=600, gt=0, examples=[600])
    """Seconds for a message's content in all, and one more for each 500 bytes of it that have come."""
    tls: float = Field(default=60, gt=0, examples=[60])
    """Seconds for the TLS handshake."""


class ServerConfig(BaseModel):
    """What listens for SMTP."""

    model_config = _STRICT

    listen: str = Field(examples=["0.0.0.0:25", "[::]:25"])
    """Address to listen on, host:port."""
    hostname: str = Field(default="", pattern=r"^[A-Za-z0-9._\-]{0,255}$", examples=["mx1.example.org"])
    """The server's name in greetings and trace headers; the node's name if empty."""
    tls: TlsSettings = TlsSettings()
    """TLS of this listener."""
    size: ByteSize = Field(default=ByteSize(50 * 1024**2), ge=65536, examples=["50MiB"])
    """Largest message that is taken."""
    recipients: int = Field(default=1000, ge=100, examples=[1000])
    """Recipients of one message."""
    errors: int = Field(default=20, ge=1, examples=[20])
    """Refusals, one after the other, that end a connection."""
    connections: int | None = Field(default=None, ge=1, examples=[1000])
    """Connections in all, where they are to be fewer than `node.connections`."""
    connections_per_peer: int | None = Field(default=None, ge=1, examples=[20])
    """Connections from one IPv4 address or IPv6 /64, where they are to be fewer than `node.peer_connections`."""
    messages_per_second: float | None = Field(default=None, gt=0, examples=[10])
    """Messages a second from one peer, on average; no limit if not given."""
    messages_burst: int = Field(default=100, ge=1, examples=[100])
    """Messages at once from one peer, where a rate is given."""
    timeouts: Timeouts = Timeouts()
    """When silence ends a connection."""

    @property
    def limits(self) -> Limits:
        """What the engine holds each connection to."""
        return Limits(size=int(self.size), recipients=self.recipients, errors=self.errors)


class IngressConfig(ServerConfig):
    """Mail from the network: an MX."""


class SubmissionTimeouts(Timeouts):
    """Seconds of silence before the server gives up on a mail program, and to log in within."""

    login: float = Field(default=60, gt=0, examples=[60])
    """Seconds from the greeting to a successful log-in."""


class SubmissionConfig(ServerConfig):
    """People's programs log in and hand over mail to be sent (RFC 6409)."""

    listen: str = Field(default="127.0.0.1:1587", examples=["127.0.0.1:1587", "0.0.0.0:465"])
    """Address to listen on, host:port."""
    hostname: str = Field(default="", pattern=r"^[A-Za-z0-9._\-]{0,255}$", examples=["mail.example.org"])
    """The server's name in greetings, the node's name if empty; and in trace headers, which tell nothing if empty."""
    tls: TlsSettings = TlsSettings()
    """TLS of this listener; it can be off on a loopback address only."""
    recipients: int = Field(default=1000, ge=100, le=1000, examples=[1000])
    """Recipients of one message."""
    memory: ByteSize = Field(default=ByteSize(256 * 1024**2), ge=1024**2, examples=["256MiB"])
    """Messages that may be in memory at once, over all connections."""
    timeouts: SubmissionTimeouts = SubmissionTimeouts()
    """When silence ends a connection."""

    @model_validator(mode="after")
    def _private(self) -> SubmissionConfig:
        if in_clear(self.listen, self.tls):
            raise ValueError(
                'passwords would cross a network in clear; leave tls.mode out, or listen on "127.0.0.1:1587"'
            )
        return self
