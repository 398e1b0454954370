"""A stand-in for Pipy where no binary of it is at hand: forwards what is captured outbound.

It takes Pipy's arguments and environment, and reports as our script for Pipy does. It runs as user
1500 from a descriptor, so it needs nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import threading
from contextlib import suppress

SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h


def say(**record: object) -> None:
    """Report an event."""
    os.write(1, json.dumps(record).encode() + b"\n")


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy one direction of a connection."""
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def forward(sock: socket.socket, peer: tuple[str, int]) -> None:
    """Forward one connection to its original destination."""
    raw = sock.getsockopt(socket.IPPROTO_IP, SO_ORIGINAL_DST, 16)
    port, address = struct.unpack("!2xH4s8x", raw)
    original = (socket.inet_ntoa(address), port)
    say(
        event="open", serial=1, by="SIDECAR_OUTBOUND", local=sock.getsockname(), peer=peer,
        original=original,
    )  # fmt: skip
    with sock, socket.create_connection(original) as onward:
        back = threading.Thread(target=pump, args=(onward, sock), daemon=True)
        back.start()
        pump(sock, onward)
        back.join()


def main() -> int:
    """Open the sidecar's ports, and serve until killed."""
    if "--version" in sys.argv:
        os.write(1, b"Version : 0.0.0-stand-in\nCommit : none\n")
        return 0
    others = [socket.create_server(("0.0.0.0", port)) for port in (15003, 15010)]
    with socket.create_server(("0.0.0.0", 15001)) as listener:
        say(event="ready", name=os.environ["FSM_NAME"])
        while others:
            sock, peer = listener.accept()
            threading.Thread(target=forward, args=(sock, peer), daemon=True).start()
    return 0


if __name__ == "__main__":
    sys.exit(main())
