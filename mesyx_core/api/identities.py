"""Who somebody may send as: addresses compared without their case and without +tag."""

from __future__ import annotations

from collections.abc import Collection


def bare(address: str) -> str:
    """The form that addresses are compared in: lower case, without +tag and angle brackets. "" when it is none."""
    local, at, domain = address.strip().removeprefix("<").removesuffix(">").rpartition("@")
    if not (at and local and domain) or len(address) > 320 or any(c.isspace() or not c.isprintable() for c in local):
        return ""
    return f"{local.partition('+')[0] or local}@{domain}".lower()


def is_among(address: str, identities: Collection[str]) -> bool:
    """Whether `address`, with any +tag, is one of `identities` (see `View.identities`)."""
    found = bare(address)
    return bool(found) and found in identities
