"""A foreign sidecar for tests: it forwards flows and reports nothing.

Plain asyncio, run by ``python3 -c`` as user 1500. It uses no protocol of ours, and logs nothing.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable

OUTBOUND, INBOUND = 15001, 15003
SERVED = (15010, 15901, 15902, 15903)
ADMIN = 15000
SO_ORIGINAL_DST = 80

Serve = Callable[[StreamReader, StreamWriter], Awaitable[None]]


def original(writer: StreamWriter) -> tuple[str, int]:
    sock = writer.get_extra_info("socket")
    raw = sock.getsockopt(socket.IPPROTO_IP, SO_ORIGINAL_DST, 16)
    return socket.inet_ntoa(raw[4:8]), struct.unpack("!H", raw[2:4])[0]


async def copy(reader: StreamReader, writer: StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


async def pass_on(
    reader: StreamReader, writer: StreamWriter, to: tuple[str, int], source: str | None
) -> None:
    local = (source, 0) if source else None
    try:
        onward = await asyncio.open_connection(*to, local_addr=local)
    except OSError:
        writer.close()
        return
    await asyncio.gather(copy(reader, onward[1]), copy(onward[0], writer))
    onward[1].close()
    writer.close()


async def outbound(reader: StreamReader, writer: StreamWriter) -> None:
    to = original(writer)
    # A client that dials the forwarder directly has it as the destination; do not loop.
    if to == writer.get_extra_info("sockname")[:2]:
        writer.close()
    else:
        await pass_on(reader, writer, to, None)


async def inbound(reader: StreamReader, writer: StreamWriter) -> None:
    _, port = original(writer)
    if port in (OUTBOUND, INBOUND):
        writer.close()
    else:
        await pass_on(reader, writer, ("127.0.0.1", port), "127.0.0.6")


async def hold(reader: StreamReader, writer: StreamWriter) -> None:
    """Wait for a request first, as an HTTP server does."""
    await reader.read()
    writer.close()


async def main() -> None:
    listeners: dict[int, Serve] = {OUTBOUND: outbound, INBOUND: inbound}
    listeners |= dict.fromkeys(SERVED, hold)
    for port, serve in listeners.items():
        await asyncio.start_server(serve, "0.0.0.0", port, backlog=1024)
    await asyncio.start_server(hold, "127.0.0.1", ADMIN)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
