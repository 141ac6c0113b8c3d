"""Servers in threads of their own, so that tests of any kind can use them."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TcpServer(socketserver.ThreadingTCPServer):
    """Each connection in a thread that does not outlive the test run."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what many tests are about."""


class UdpServer(socketserver.ThreadingUDPServer):
    daemon_threads = True
    block_on_close = False


@contextmanager
def serving(*servers: socketserver.BaseServer) -> Iterator[None]:
    """Serve until the block is left."""
    threads = [threading.Thread(target=each.serve_forever, args=(0.02,), daemon=True) for each in servers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for each in servers:
            each.shutdown()
            each.server_close()


def free_port(*hosts: str) -> int:
    """A port that was free a moment ago on all these addresses."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
        try:
            for host in hosts:
                with socket.socket() as probe:
                    probe.bind((host, port))
        except OSError:
            continue
        return port
