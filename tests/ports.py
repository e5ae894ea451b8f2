"""Ports for servers that a test starts by their number."""

from __future__ import annotations

import random
import socket

# Below the ports that Linux gives to outgoing connections and to listeners without a number: one of
# those may take the port again before the server listens.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port where nothing listens."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
