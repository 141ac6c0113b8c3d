"""Mesyx plugin: mail from and to the network by SMTP."""

from __future__ import annotations

from mesyx_core.api import Provider, hookimpl


@hookimpl
def mesyx_ingresses() -> list[Provider]:
    """The MX: `use = "smtp"` in an [ingress.NAME] section."""
    from mesyx_smtp.config import IngressConfig
    from mesyx_smtp.server import open_ingress

    return [Provider(name="smtp", config=IngressConfig, open=open_ingress, summary="takes in mail as an MX")]


@hookimpl
def mesyx_egresses() -> list[Provider]:
    """The way out: `use = "smtp"` in an [egress.NAME] section."""
    from mesyx_smtp.egress.config import EgressConfig
    from mesyx_smtp.egress.sender import open_egress

    return [Provider(name="smtp", config=EgressConfig, open=open_egress, summary="sends mail by MX or a smarthost")]


@hookimpl
def mesyx_accesses() -> list[Provider]:
    """Submission: `use = "smtp"` in an [access.NAME] section."""
    from mesyx_smtp.config import SubmissionConfig
    from mesyx_smtp.submission.access import open_submission

    summary = "takes mail to be sent from people's programs"
    return [Provider(name="smtp", config=SubmissionConfig, open=open_submission, summary=summary)]
