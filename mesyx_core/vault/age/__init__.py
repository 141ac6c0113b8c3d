"""age v1 files (C2SP age specification) to X25519, hybrid (MLKEM768_X25519) and passphrase recipients.

Everything is in memory and bounded: a file or its plaintext has at most LARGEST bytes. Plaintext is returned only
when all of it is authentic.
"""

from .errors import AgeError, ArmorError, HeaderError, MacError, NoMatch, PayloadError
from .file import LARGEST, decrypt, decrypt_by, decrypt_passphrase, encrypt, encrypt_passphrase, encrypt_to
from .header import Stanza
from .identity import Identity, check_recipient, generate, parse_identity
from .plugin import identity_plugin, recipient_plugin

__all__ = [
    "LARGEST",
    "AgeError",
    "ArmorError",
    "HeaderError",
    "Identity",
    "MacError",
    "NoMatch",
    "PayloadError",
    "Stanza",
    "check_recipient",
    "decrypt",
    "decrypt_by",
    "decrypt_passphrase",
    "encrypt",
    "encrypt_passphrase",
    "encrypt_to",
    "generate",
    "identity_plugin",
    "parse_identity",
    "recipient_plugin",
]
