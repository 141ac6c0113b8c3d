"""Mesyx plugin: the https transport, a WebSocket on an ordinary web server's port and path."""

from __future__ import annotations

from mesyx_core.api import Provider, hookimpl
from mesyx_https.config import HttpsConfig
from mesyx_https.transport import open_https


@hookimpl
def mesyx_transports() -> list[Provider]:
    """`https`."""
    summary = "Other nodes over HTTPS: WebSockets, also behind a web server"
    return [Provider(name="https", config=HttpsConfig, open=open_https, summary=summary)]
