"""IMAP4rev1 (RFC 3501) over a store's view: what mail programs speak."""

from __future__ import annotations

from mesyx_core.api import Provider, hookimpl
from mesyx_imap.access import PROVIDER

__all__ = ["mesyx_accesses"]


@hookimpl
def mesyx_accesses() -> list[Provider]:
    """The one access, `imap`."""
    return [PROVIDER]
