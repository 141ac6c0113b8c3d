"""A gateway that shares port 443 with a website: behind nginx, under a path, with the website's certificate."""

from __future__ import annotations

import http.client
import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.scenario.cluster import Pair, client, free_port, gateway, join, peers, wait_for
from tests.scenario.listing import exists
from tests.scenario.senders import Senders

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(180)]

SITE = """
# [nginx]
server {
    listen 443 ssl;
    server_name www.example.org;
    ssl_certificate /etc/ssl/www.example.org.pem;
    ssl_certificate_key /etc/ssl/www.example.org.key;

    location / {
        root /var/www/html;
    }

    location = /mesyx {
        proxy_pass http://127.0.0.1:8443;
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection upgrade;
        proxy_buffering off;
    }
}
# [/nginx]
"""
MAIL = b"From: bob@example.com\r\nTo: alice@example.org\r\nSubject: by the web\r\n\r\nHello.\r\n"


def certified(folder: Path) -> Path:
    """A certificate for localhost from a test CA, as ca.pem, site.pem and site.key; the folder."""
    now, pem = datetime.now(UTC), serialization.Encoding.PEM
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name, name = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, n)]) for n in ("A test CA", "localhost"))

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder(ca_name, subject, public, x509.random_serial_number())
        return made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))

    ca = builder(ca_name, ca_key.public_key()).add_extension(x509.BasicConstraints(True, 0), critical=True)
    ca = ca.add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    site = builder(name, key.public_key()).add_extension(names, critical=False)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    site = site.add_extension(authority, critical=False)
    (folder / "ca.pem").write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    (folder / "site.pem").write_bytes(site.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "site.key").write_bytes(private)
    return folder


@contextmanager
def nginx(folder: Path, port: int, node: int) -> Iterator[None]:
    """nginx with the site of the how-to, its ports and paths put in."""
    (folder / "html").mkdir()
    (folder / "html" / "index.html").write_text("A website.\n")
    site = SITE
    for old, new in (
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("www.example.org;", "localhost;"),
        ("/etc/ssl/www.example.org", f"{folder}/site"),
        ("/var/www/html", f"{folder}/html"),
        ("127.0.0.1:8443", f"127.0.0.1:{node}"),
    ):
        assert old in site
        site = site.replace(old, new, 1) if old != "/etc/ssl/www.example.org" else site.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"{'user root; ' if os.getuid() == 0 else ''}daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary}\n{site}\n}}\n"
    )
    with subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]) as server:
        try:
            yield
        finally:
            server.terminate()


def page(folder: Path, port: int, path: str = "/") -> tuple[int, bytes]:
    """What a browser that trusts the CA, and nobody else, is shown."""
    trust = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=trust)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Pair, Path, int]]:
    web, port, node = certified(tmp_path), free_port(), free_port()
    sections = f'listen = "127.0.0.1:{node}"\naddress = "https://localhost:{port}/mesyx"\ntls.mode = "off"\n'
    with nginx(web, port, node), ExitStack() as stack:
        made = Pair(gateway(tmp_path / "mx1", transport=sections), client(tmp_path / "laptop"))
        stack.callback(made.gateway.kill)
        stack.callback(made.client.kill)
        join(made)
        yield made, web, port


def test_nodes_meet_under_a_path_of_a_website(pair: tuple[Pair, Path, int]) -> None:
    made, web, port = pair
    (peer,) = peers(made.client)
    assert (peer["state"], peer["dial"]) == ("connected", [f"https://localhost:{port}/mesyx"])
    senders = Senders(made.smtp, made.address, 1)
    senders.send([MAIL])
    assert senders.accepted, senders.refused
    wait_for("the mail at the client", lambda: exists(made) == 1)
    assert page(web, port) == (200, b"A website.\n")
    assert page(web, port, "/mesyx") == (200, b"It works.\n")
