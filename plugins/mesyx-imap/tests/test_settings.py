"""What an operator may set, and what is refused before anything listens."""

from __future__ import annotations

import pytest
from mesyx_imap.access import ImapSettings
from pydantic import ValidationError


@pytest.mark.parametrize("listen", ["127.0.0.1:1143", "[::1]:1143", "localhost:1143"])
def test_tls_may_be_off_on_loopback(listen: str) -> None:
    assert ImapSettings.model_validate({"listen": listen, "tls": {"mode": "off"}}).tls.mode == "off"


@pytest.mark.parametrize("listen", ["0.0.0.0:143", "[::]:143", ":143", "192.0.2.1:143", "mail.example.org:143"])
def test_passwords_never_cross_a_network_in_clear(listen: str) -> None:
    with pytest.raises(ValidationError, match="in clear"):
        ImapSettings.model_validate({"listen": listen, "tls": {"mode": "off"}})
    assert ImapSettings.model_validate({"listen": listen}).tls.mode == "starttls"
