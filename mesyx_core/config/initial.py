"""The mesyx.toml that `mesyx init` writes: [node], and what can follow it as comments."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mesyx_core.api.errors import Refused
from mesyx_core.config.model import parse

HEAD: Final = """\
# Check this file with `mesyx config check`; every key is in the reference, docs/reference/config.md.

[node]
name = "{name}"
roles = [{roles}]
state = "state"                  # relative to this file
database = "sqlite"
# acknowledge = "durable"        # or "replicated": wait for one peer as well
# size_limit = "50 MiB"          # largest message
# body_limit = "1 GiB"           # largest body fetched from other nodes
# store_quota = "10 GiB"         # disk that one store may fill
"""

TRANSPORT: Final = """
# How this node meets others. Without `listen` it only dials.
# [transport.https]
# listen = "0.0.0.0:8443"
# address = "https://mx1.example.org:8443"
"""

ACCEPT: Final = """
# Mail from the world. An instance's name is free; `use` defaults to it.
# [ingress.mx]
# use = "smtp"
# listen = "0.0.0.0:25"

# Mail to the world, by MX; the key `smarthost` names a server to send it through instead.
# [egress.smtp]

# Refuse before taking in.
# [[filter.rules.rule]]
# sender = "*@spam.example"
# action = "reject"
# reason = "not wanted here"
"""

CLIENT: Final = """
# For your own programs, on this machine.
# [access.imap]
# listen = "127.0.0.1:1143"

# They send by it too: user and app password as for IMAP.
# [access.submission]
# use = "smtp"
# listen = "127.0.0.1:1587"
"""


def write_initial(folder: Path, name: str, roles: Sequence[str]) -> Path:
    """Write FOLDER/mesyx.toml (0600, since it may come to hold secrets).

    Raises ConfigRefused for a bad name or role, Refused when there is such a file already.
    """
    file = folder / "mesyx.toml"
    text = initial(name, roles)
    parse(text, file)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Refused(f"{file} is there already", "choose another folder; nothing was changed") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError:
        file.unlink()
        raise
    return file


def initial(name: str, roles: Sequence[str]) -> str:
    """The text for a node of these roles: what concerns them, as comments."""
    parts = [
        HEAD.format(
            name=name.replace("\\", "\\\\").replace('"', '\\"'),
            roles=", ".join(f'"{role}"' for role in dict.fromkeys(roles)),
        )
    ]
    if "accept" in roles:
        parts.append(ACCEPT)
    parts.append(TRANSPORT)
    if "client" in roles:
        parts.append(CLIENT)
    return "".join(parts)
