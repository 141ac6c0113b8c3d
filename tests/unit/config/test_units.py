"""systemd units made from a config."""

from __future__ import annotations

from pathlib import Path

from mesyx_core.config import parse
from mesyx_core.config.units import units

TEXT = """
[node]
name = "mx1"
roles = ["accept", "exchange"]

[ingress.mx]
use = "smtp"
listen = ":25"

[ingress.other]
use = "smtp"
listen = "[::1]:2525"

[transport.https]
listen = "192.0.2.1:8443"

[transport.named]
use = "tcp"
listen = "localhost:4000"

[transport.any]
use = "tcp"
listen = "127.0.0.1:0"
"""


def made(text: str = TEXT, folder: str = "/srv/mesyx", passphrase: Path | None = None) -> dict[str, str]:
    return units(parse(text, Path(folder) / "mesyx.toml"), Path("/opt/mesyx/bin/mesyx"), "mesyx", passphrase)


def test_every_address_that_is_known_beforehand_is_bound_by_systemd() -> None:
    streams = [line for line in made()["mesyx-mx1.socket"].splitlines() if line.startswith("ListenStream=")]
    assert streams == [
        "ListenStream=0.0.0.0:25",
        "ListenStream=[::]:25",
        "ListenStream=[::1]:2525",
        "ListenStream=192.0.2.1:8443",
    ]
    assert "Requires=mesyx-mx1.socket" in made()["mesyx-mx1.service"]


def test_a_node_that_listens_nowhere_has_no_socket_unit() -> None:
    assert [*made(TEXT.partition("[ingress.mx]")[0])] == ["mesyx-mx1.service"]


def test_nothing_of_the_service_reaches_a_disk_but_its_state() -> None:
    service = made()["mesyx-mx1.service"].splitlines()
    for line in ("LimitCORE=0", "MemorySwapMax=0", "ProtectSystem=strict", "ReadWritePaths=/srv/mesyx/state"):
        assert line in service
    assert "User=mesyx" in service


def test_where_backups_go_can_be_written_as_well() -> None:
    config = parse(TEXT, Path("/srv/mesyx/mesyx.toml"))
    service = units(config, Path("/opt/mesyx/bin/mesyx"), "mesyx", None, [Path("/mnt/backup")])["mesyx-mx1.service"]
    assert "ReadWritePaths=/srv/mesyx/state\nReadWritePaths=-/mnt/backup\n" in service


def test_the_passphrase_is_a_credential_of_the_service() -> None:
    service = made(passphrase=Path("/etc/mesyx/alice.passphrase"))["mesyx-mx1.service"].splitlines()
    assert "LoadCredential=passphrase:/etc/mesyx/alice.passphrase" in service
    assert "ExecStart=/opt/mesyx/bin/mesyx run -c /srv/mesyx/mesyx.toml --passphrase-file %d/passphrase" in service


def test_odd_paths_are_quoted_for_systemd() -> None:
    service = made(folder='/srv/50% of "mail"')["mesyx-mx1.service"]
    assert r'-c "/srv/50%% of \"mail\"/mesyx.toml"' in service


def test_a_node_below_a_home_can_read_it() -> None:
    assert "ProtectHome=read-only" in made(folder="/home/alice/mesyx")["mesyx-mx1.service"]
    assert "ProtectHome=yes" in made()["mesyx-mx1.service"]


def test_a_service_whose_database_is_away_for_long_comes_back() -> None:
    service = made()["mesyx-mx1.service"].splitlines()
    assert {"StartLimitIntervalSec=0", "Restart=on-failure", "TimeoutStartSec=30min"} <= set(service)
