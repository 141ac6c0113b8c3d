"""The transport is certified: it moves bytes as TCP would."""

from __future__ import annotations

from mesyx_https import mesyx_transports

from mesyx_core.testing import DuplexContract


class TestHttps(DuplexContract):
    provider = mesyx_transports()[0]
    config = {"listen": "127.0.0.1:0"}
    capabilities = frozenset({"listens", "via"})


class TestBehindAWebServer(DuplexContract):
    provider = mesyx_transports()[0]
    config = {"listen": "127.0.0.1:0", "path": "/mesyx", "tls": {"mode": "off"}}
    capabilities = frozenset({"listens", "via"})
