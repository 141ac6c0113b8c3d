"""age v1 files (C2SP age specification) to X25519, hybrid (MLKEM768_X25519) and passphrase recipients.

Everything is in memory and bounded: a file or its plaintext has at most LARGEST bytes. Plaintext is returned only
when all of it is authentic.
"""

from .errors import AgeError, ArmorError, HeaderError, MacError, NoMatch, PayloadError
from .file import LARGEST, decrypt, decrypt_passphrase, encrypt, encrypt_passphrase
from .identity import Identity, check_recipient, generate, parse_identity

__all__ = [
    "LARGEST",
    "AgeError",
    "ArmorError",
    "HeaderError",
    "Identity",
    "MacError",
    "NoMatch",
    "PayloadError",
    "check_recipient",
    "decrypt",
    "decrypt_passphrase",
    "encrypt",
    "encrypt_passphrase",
    "generate",
    "parse_identity",
]
