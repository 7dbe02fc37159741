"""The request that a session is given for one attempt, and what it finds out on the wire.

It is a copy of the caller's, of a subclass of its class: its URL says where to dial, its headers
stay, and it is asked at the moment when it has a connection, before a byte goes over it.
"""

from __future__ import annotations

import asyncio
import copy
import os
import select
import socket
from collections.abc import Callable, Hashable
from typing import Any

from aiohttp import ClientRequest, Payload
from aiohttp.payload import BytesPayload
from multidict import CIMultiDict
from yarl import URL

from meshware.call import RequestHead, Send
from meshware.clients.aiohttp_lives import Lives, Used
from meshware.clients.aiohttp_responses import response_class
from meshware.clients.aiohttp_watch import give_up
from meshware.clients.connections import socket_options
from meshware.clients.replay import Kept
from meshware.clients.tls import Origination, origination, user_of
from meshware.policy.pool_rule import PoolRule

__all__ = ["OnceBody", "Unwanted", "Wire", "attempt_request", "is_bytes", "with_body"]


class Unwanted(Exception):
    """The connection that was taken is not to be used; raised before anything is sent over it."""


class Wire:
    """What one attempt does on the wire.

    Args:
        lives: of the connections that have carried a request; this attempt's is added.
        rule: what connections must be.
        must_be_fresh: take none of those.

    Attributes:
        sent: the request was handed to a connection.
        is_reused: one that had carried another before.
        used: that connection.
        version: of what it is made for.
        read_s: the caller's time-out for reading, known once there is a connection.
        on_connected: called then.
    """

    __slots__ = (
        "_lives",
        "_must_be_fresh",
        "_protocol",
        "_rule",
        "_transport",
        "is_reused",
        "on_connected",
        "read_s",
        "sent",
        "tls",
        "used",
        "version",
    )

    def __init__(self, lives: Lives, rule: PoolRule | None, *, must_be_fresh: bool = False) -> None:
        self._lives = lives
        self._rule = rule
        self.used: Used | None = None
        self.version: Hashable = None
        self.tls: Origination | None = None
        self._must_be_fresh = must_be_fresh
        self._protocol: Any = None
        self._transport: Any = None
        self.sent = False
        self.is_reused = False
        self.read_s: float | None = None
        self.on_connected: Callable[[], None] | None = None

    def connected(self, connection: Any) -> None:
        """Look at the connection that a request is about to go over.

        Raises:
            Unwanted: it is not to be used.
        """
        protocol = self._protocol = connection.protocol
        assert self._rule is not None
        used = self._lives.get(protocol)
        self.is_reused = used is not None
        if used is None:
            used = self._lives.add(protocol, self._rule, self.version)
            _set_options(connection.transport, self._rule)
            if self.tls is not None:
                self.tls.cap(used.life, connection.transport.get_extra_info("ssl_object"))
            # Bodies want to know how a connection ended; nobody is to be told that nobody asked.
            if protocol.closed is not None:
                protocol.closed.add_done_callback(_retrieve)
        elif self._must_be_fresh or used.life.is_over() or _is_readable(connection.transport):
            raise Unwanted
        used.begin()
        if used.life.is_over():
            protocol.force_close()  # when this request has been answered
        self.used, self._transport = used, connection.transport
        self.read_s = protocol.read_timeout
        # For single reads only, while the wait for headers is bounded as a whole; see `watch`.
        protocol.read_timeout = None
        self.sent = True
        if self.on_connected is not None:
            self.on_connected()

    def give_up(self) -> None:
        """Drop what the connection, which has been closed, would still send."""
        give_up(self._transport)

    def close(self) -> None:
        """Close the connection, also where it has been given back: it is not to be used again."""
        if self._protocol is not None:
            self._protocol.close()


def _retrieve(closed: asyncio.Future[None]) -> None:
    if not closed.cancelled():
        closed.exception()


def _set_options(transport: Any, rule: PoolRule) -> None:
    """Set the options of a rule, in a way that every loop's sockets have."""
    if rule.keepalive is None:
        return
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as same:
        for option in socket_options(rule):
            same.setsockopt(*option)


def _is_readable(transport: Any) -> bool:
    """Return whether a receive would return at once; an idle connection that is was closed.

    The loop finds that out as well, but perhaps not before it runs this task.
    """
    sock = transport.get_extra_info("socket")
    descriptor = -1 if sock is None else sock.fileno()
    if descriptor < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


class _Attempt:
    """Mixed into classes of requests."""

    mesh_wire: Wire
    mesh_pool: tuple[PoolRule, Origination | None]

    @property
    def connection_key(self: Any) -> Any:
        # Connections of two pools are never shared: which one it is, is part of the key.
        key = super().connection_key  # type: ignore[misc]
        return _keyed(type(key), key, self.mesh_pool)

    @property
    def request_info(self: Any) -> Any:
        return super().request_info._replace(url=self.original_url)  # type: ignore[misc]

    async def send(self: Any, conn: Any) -> Any:
        self.mesh_wire.connected(conn)
        return await super().send(conn)  # type: ignore[misc]


_key_classes: dict[type, type] = {}


def _keyed(key_class: Any, key: Any, pool: object) -> Any:
    """Return a connector's key that is equal only to one of the same pool."""
    found: Any = _key_classes.get(key_class)
    if found is None:
        # A repr of its own: that of a named tuple has no place for one value more.
        methods = {"__repr__": tuple.__repr__}
        found = _key_classes[key_class] = type("MeshConnectionKey", (key_class,), methods)
    return tuple.__new__(found, (*key, pool))


_request_classes: dict[type, type] = {}


def attempt_request(
    original: ClientRequest, action: Send, wire: Wire, lives: Lives, body: OnceBody | None
) -> ClientRequest:
    """Return the request for an attempt.

    Args:
        original: the caller's.
        action: which attempt.
        wire: is told of its connection.
        lives: of all connections.
        body: to be sent in place of the caller's, which can be sent only once.

    Raises:
        IdentityError: it needs TLS that cannot be had.
    """
    base = type(original)
    made = _request_classes.get(base)
    if made is None:
        made = _request_classes[base] = type("MeshRequest", (_Attempt, base), {})
    request: Any = copy.copy(original)
    request.__class__ = made
    request.mesh_wire = wire
    url, scheme = original.url, original.url.scheme
    plain_scheme = "https" if original.is_ssl() else "http"
    tls = origination(action, plain_scheme)
    request.mesh_pool = (action.pool, tls)
    wire.tls = tls
    wire.version = (action.pool, tls and tls.context)
    lives.note(user_of(action, plain_scheme), wire.version)
    if tls is not None:
        scheme = "https"
        request._ssl = tls.context
        request.server_hostname = tls.server_name
    host = str(action.address)
    target = url.raw_path_qs if action.target is None else action.target
    authority = f"[{host}]:{action.port}" if ":" in host else f"{host}:{action.port}"
    request.url = URL(f"{scheme}://{authority}{target}", encoded=True)
    if request.is_ssl() and request.server_hostname is None:
        request.server_hostname = url.raw_host  # the certificate is for the name
    request.update_proxy(None, None, None)  # a service is dialled, whatever the session has
    request.headers = _headers(original, action)
    if action.edit is not None and "content-type" in action.edit.drop:
        skipped = CIMultiDict[None](original.skip_auto_headers)
        skipped["content-type"] = None
        request._skip_auto_headers = skipped
    request.update_expect_continue()  # a wait of its own
    request.response_class = response_class(original.response_class)
    if body is not None:
        request._body = body
    return request  # type: ignore[no-any-return]


def _headers(original: ClientRequest, action: Send) -> CIMultiDict[str]:
    headers = CIMultiDict(original.headers)
    if action.edit is not None:
        for name in action.edit.drop:
            headers.popall(name, None)
        for name, value in action.edit.append:
            headers.add(name, value)
    for name, _ in action.headers:
        headers.popall(name, None)
    for name, value in action.headers:
        headers.add(name, value)
    return headers


def with_body(original: ClientRequest, content: bytes) -> ClientRequest:
    """Return a copy of a request whose body is these bytes."""
    request: Any = copy.copy(original)
    request._body = BytesPayload(content)
    return request  # type: ignore[no-any-return]


def is_bytes(body: Any) -> bool:
    """Return whether a request's body can be sent again: bytes, or none at all."""
    return not body or isinstance(body, BytesPayload)


class OnceBody(Payload):
    """A body that can be read only once, of which something may be kept.

    Attributes:
        kept: what it has written. A body that was interrupted cannot be gone on with.
    """

    def __init__(self, body: Any) -> None:
        self._whole = body
        self.kept = Kept()

    async def write(self, writer: Any) -> None:
        """Write the body."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:
        """Write the body, or so much of it."""
        kept = self.kept
        if kept.is_begun:
            content = kept.content
            if content is None:
                raise RuntimeError("the body of the request has been sent before")
            await writer.write(content[:content_length])
            return
        kept.is_begun = True
        watched = _Writer(writer, kept)
        try:
            await self._whole.write_with_length(watched, content_length)
        except Exception as error:
            if not watched.has_failed:
                kept.error = error
            raise
        kept.is_whole = True

    def tell(self, head: RequestHead) -> None:
        """Tell the exchange what can be done with the body now."""
        self.kept.tell(head)
        head.replayable = head.is_kept or not self.kept.is_begun

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as text, as far as it allows that."""
        text: str = self._whole.decode(encoding, errors)
        return text


class _Writer:
    """A writer that keeps what is written, and remembers whether it was the writing that failed."""

    def __init__(self, writer: Any, kept: Kept) -> None:
        self._writer = writer
        self._kept = kept
        self.has_failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    async def write(self, chunk: Any, *args: Any, **kwargs: Any) -> None:
        self._kept.keep(chunk)
        try:
            await self._writer.write(chunk, *args, **kwargs)
        except BaseException:
            self.has_failed = True
            raise
