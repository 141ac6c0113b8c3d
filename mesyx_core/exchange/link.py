"""TLS 1.3 over any byte stream, between nodes that know each other by their Ed25519 keys and by nothing else.

The server shows a self-signed leaf made of its node key; the client compares the leaf's key with the one it expects. No
client certificates [the stdlib's ssl cannot verify unknown self-signed ones]: the client proves its key inside, by a
signature over the server's nonce. No session tickets [they would let strangers link visits].
"""

from __future__ import annotations

import os
import secrets
import ssl
import tempfile
from datetime import UTC, datetime
from typing import Final

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute, TLSStream
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

from mesyx_core.vault.nodekey import NodeKey

from .errors import LinkFailed, WrongNode

HANDSHAKE_SECONDS: Final = 20.0
# One name and one span of time for everybody: a leaf tells its key and nothing else.
_NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
_FROM: Final = datetime(2020, 1, 1, tzinfo=UTC)
_UNTIL: Final = datetime(2120, 1, 1, tzinfo=UTC)
_BROKEN: Final = (ssl.SSLError, OSError, anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError)


def certificate(signer: Ed25519PrivateKey) -> x509.Certificate:
    """The self-signed leaf of a node key. Ed25519 is deterministic, so a node always shows the same one."""
    return (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(signer.public_key())
        .serial_number(1)
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .sign(signer, None)
    )


def server_context(key: NodeKey) -> ssl.SSLContext:
    """For accepting streams; make it once per node, at its start: it writes a temporary file."""
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    # ssl loads keys from files only. This one is sealed under a passphrase that lives in this function.
    passphrase = secrets.token_hex(16).encode("ascii")
    private = key.signer.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )
    handle, path = tempfile.mkstemp(prefix="mesyx-leaf-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(private + certificate(key.signer).public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(path, password=passphrase)
    finally:
        os.unlink(path)
    return context


def client_context() -> ssl.SSLContext:
    """For dialling. Verifies no chain and no name: `dial` compares the key."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


async def accept(stream: ByteStream, context: ssl.SSLContext, *, seconds: float = HANDSHAKE_SECONDS) -> ByteStream:
    """The server's side of a handshake. Raises LinkFailed; closes the stream then."""
    return await _wrap(stream, context, seconds, server=True)


async def dial(
    stream: ByteStream, context: ssl.SSLContext, node: bytes, *, seconds: float = HANDSHAKE_SECONDS
) -> ByteStream:
    """The client's side; returns only when the server has proved node key `node`. Raises LinkFailed or WrongNode, and
    closes the stream then."""
    wrapped, key = await meet(stream, context, seconds=seconds)
    if key != node:
        await anyio.aclose_forcefully(wrapped)
        raise WrongNode(
            "the node that answered has another key than the one expected",
            "check the address, and that no other server took its place",
        )
    return wrapped


async def meet(
    stream: ByteStream, context: ssl.SSLContext, *, seconds: float = HANDSHAKE_SECONDS
) -> tuple[ByteStream, bytes]:
    """The client's side towards a node whose key is not known: the stream, and the key that was proved. Raises
    LinkFailed or WrongNode, and closes the stream then.
    """
    wrapped = await _wrap(stream, context, seconds, server=False)
    key = _leaf_key(wrapped.extra_attributes[TLSAttribute.peer_certificate_binary]())
    if key is None:
        await anyio.aclose_forcefully(wrapped)
        raise WrongNode("what answers there is no node", "check the address")
    return wrapped, key


async def _wrap(stream: ByteStream, context: ssl.SSLContext, seconds: float, *, server: bool) -> TLSStream:
    try:
        with anyio.fail_after(seconds):
            # Frames have lengths and the session its own end, so a truncated stream needs no TLS alert to be noticed.
            return await TLSStream.wrap(stream, server_side=server, ssl_context=context, standard_compatible=False)
    except TimeoutError:
        await anyio.aclose_forcefully(stream)
        raise LinkFailed("the peer did not finish the TLS handshake in time") from None
    except _BROKEN as error:
        await anyio.aclose_forcefully(stream)
        raise LinkFailed(f"the TLS handshake failed ({type(error).__name__})") from None
    except BaseException:  # cancelled: whoever gave us the stream counts on us to close it
        await anyio.aclose_forcefully(stream)
        raise


def _leaf_key(leaf: bytes | None) -> bytes | None:
    """The raw Ed25519 key in a DER certificate, or None for anything else."""
    if leaf is None or len(leaf) > 4096:
        return None
    try:
        public = x509.load_der_x509_certificate(leaf).public_key()
    except Exception:  # whatever a hostile certificate makes the parser raise, it is not the key we look for
        return None
    return public.public_bytes_raw() if isinstance(public, Ed25519PublicKey) else None
