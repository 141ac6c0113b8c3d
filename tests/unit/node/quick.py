"""Passphrases that cost nothing: for tests in which no thief guesses."""

from __future__ import annotations

import pytest

from mesyx_core.vault import age


def quick_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sealed under a passphrase takes no second of a core."""
    real = age.encrypt_passphrase

    def quick(plaintext: bytes, passphrase: str, *, work: int = 18, armor: bool = False) -> bytes:
        return real(plaintext, passphrase, work=min(work, 6), armor=armor)

    monkeypatch.setattr(age, "encrypt_passphrase", quick)
