"""Mesyx plugin: mail from and to the network by SMTP."""

from __future__ import annotations

from mesyx_core.api import Provider, hookimpl


@hookimpl
def mesyx_ingresses() -> list[Provider]:
    """The MX: `use = "smtp"` in an [ingress.NAME] section."""
    from mesyx_smtp.config import IngressConfig
    from mesyx_smtp.server import open_ingress

    return [Provider(name="smtp", config=IngressConfig, open=open_ingress, summary="takes in mail as an MX")]
