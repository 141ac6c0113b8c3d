"""Padmé: sizes that say little about what they hold (Nikitin et al., PETS 2019, section 4), at most 12 % more."""

from __future__ import annotations

from typing import Final

LEAST: Final = 256


def padded(size: int) -> int:
    """The smallest allowed size that holds `size` bytes: at least 256, and with few significant bits."""
    if size <= LEAST:
        return LEAST
    exponent = size.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (size + mask) & ~mask
