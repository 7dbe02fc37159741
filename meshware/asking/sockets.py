"""Carry flows out: over a thread's sockets, and over those of asyncio (uvloop too) or trio.

The two halves differ in `await` only; keep them so. Sockets of tasks belong to no loop, so that
they may be kept for whichever comes next.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, TypeVar

from meshware.asking.http1 import Flow, Unsent
from meshware.asking.links import CHUNK_BYTES, Link
from meshware.call import Send
from meshware.clients.addresses import unix_path
from meshware.clients.connections import socket_options
from meshware.clients.deadline import connect
from meshware.clients.tasks import trio_of_this_task
from meshware.clients.tls import Origination

__all__ = ["dial", "dial_async", "read_what_came", "run", "run_async"]

T = TypeVar("T")

_CLOSED = (BrokenPipeError, ConnectionResetError)


def dial(action: Send, tls: Origination | None) -> Link:
    """Return a connection to an endpoint, its handshake still to be made.

    The attempt that is the current one says how long it may take.

    Raises:
        OSError: there is none; TimeoutError: not in time.
    """
    if action.address is None:
        raise Unsent("policy knows no such service, and an authorizer is never looked up elsewhere")
    sock = connect(
        action.address,
        action.port,
        action.connect_timeout_s,
        options=socket_options(action.pool),
    )
    return Link(sock, action.pool, tls)


def run(flow: Flow[T], link: Link) -> T:
    """Carry a flow out, within the time of the current attempt.

    Who is sent more than it wants to read may have answered before it closed.
    """
    unsent: OSError | None = None
    try:
        wanted = next(flow)
        while True:
            if wanted is None:
                received = link.sock.recv(CHUNK_BYTES)
                if not received and unsent is not None:
                    raise unsent
                wanted = flow.send(received)
            else:
                try:
                    link.sock.sendall(wanted)
                except _CLOSED as error:
                    unsent = error
                wanted = flow.send(b"")
    except StopIteration as end:
        result: T = end.value
        return result


async def dial_async(action: Send, tls: Origination | None) -> Link:
    """Return a connection to an endpoint, as `dial` does, for tasks."""
    if action.address is None:
        raise Unsent("policy knows no such service, and an authorizer is never looked up elsewhere")
    trio = trio_of_this_task()
    failure: OSError = OSError(f"{action.address} has no address")
    for family, kind, protocol, _, address in await _addresses(trio, action.address, action.port):
        link = Link(socket.socket(family, kind, protocol), action.pool, tls)
        try:
            link.sock.setblocking(False)
            if family != socket.AF_UNIX:
                for option in socket_options(action.pool):
                    link.sock.setsockopt(*option)
            if trio is None:
                await asyncio.get_running_loop().sock_connect(link.sock, address)
            else:
                await trio.socket.from_stdlib_socket(link.sock).connect(address)
        except OSError as error:
            failure = error
        else:
            return link
    try:
        raise failure
    finally:
        del failure  # it refers to this frame, which would keep both alive


async def run_async(flow: Flow[T], link: Link) -> T:
    """Carry a flow out, as `run` does, for tasks; whoever calls limits the time."""
    trio = trio_of_this_task()
    receive, send = _of_asyncio(link) if trio is None else _of_trio(trio, link)
    unsent: OSError | None = None
    try:
        wanted = next(flow)
        while True:
            if wanted is None:
                received = await receive(CHUNK_BYTES)
                if not received and unsent is not None:
                    raise unsent
                wanted = flow.send(received)
            else:
                try:
                    await send(wanted)
                except _CLOSED as error:
                    unsent = error
                wanted = flow.send(b"")
    except StopIteration as end:
        result: T = end.value
        return result


def read_what_came(flow: Flow[Any], link: Link) -> None:
    """Go on with a flow whose time is up, by what lies in the socket already.

    It may have been held up in sending, with an answer waiting to be read.
    """
    try:
        link.sock.setblocking(False)
        flow.send(b"")
        while received := socket.socket.recv(link.sock, CHUNK_BYTES):
            flow.send(received)
    except (Exception, StopIteration):
        return  # there is no more of it, or it is no answer: `Link.reading` knows


def _of_asyncio(link: Link) -> tuple[Any, Any]:
    loop, sock = asyncio.get_running_loop(), link.sock
    return lambda size: loop.sock_recv(sock, size), lambda data: loop.sock_sendall(sock, data)


def _of_trio(trio: Any, link: Link) -> tuple[Any, Any]:
    sock = trio.socket.from_stdlib_socket(link.sock)

    async def send_all(data: bytes) -> None:
        with memoryview(data) as rest:
            at = 0
            while at < len(rest):
                at += await sock.send(rest[at:])

    return sock.recv, send_all


async def _addresses(trio: Any, host: str, port: int) -> list[Any]:
    path = unix_path(host)
    if path is not None:
        return [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", path)]
    try:  # an address most of the time, which nobody has to look up
        numeric = socket.AI_NUMERICHOST
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)
    except socket.gaierror:
        pass
    found: list[Any] = await (
        asyncio.get_running_loop() if trio is None else trio.socket
    ).getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return found
