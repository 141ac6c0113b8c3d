"""TLS settings say what is wrong with them; a self-signed pair serves."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from mesyx_core.api import Misconfigured
from mesyx_core.wire.tls import ImplicitTls, TlsSettings, self_signed, server_context


def test_modes() -> None:
    assert TlsSettings().mode == "starttls"
    assert ImplicitTls.model_validate({"certificate": "a.pem"}).mode == "implicit"
    for bad in ({"mode": "tls"}, {"key": "k.pem"}, {"cert": "c.pem"}):
        with pytest.raises(ValidationError):
            TlsSettings.model_validate(bad)


def test_a_self_signed_pair_makes_a_context(tmp_path: Path) -> None:
    certificate, key = self_signed("mx1.example.org", datetime.now(UTC))
    (tmp_path / "both.pem").write_bytes(certificate + key)
    assert server_context(tmp_path / "both.pem").minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_broken_pair_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_bytes(b"")
    for name, why in (("empty.pem", "not a PEM"), ("none.pem", "cannot be read")):
        with pytest.raises(Misconfigured, match=f"{name}.*{why}"):
            server_context(tmp_path / name)
