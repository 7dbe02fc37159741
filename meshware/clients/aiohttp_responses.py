"""Responses of aiohttp's own class: for answers, with a place for the mesh's word, and local ones.

A local reply is put together as bytes, and read by aiohttp's own parser: so it is an ordinary
response in everything, without a connection.
"""

from __future__ import annotations

import http
import inspect
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import ClientRequest, ClientResponse
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDict, CIMultiDictProxy

from meshware.call import ExchangeInfo, MessageEdit, Reply

if TYPE_CHECKING:
    from meshware.clients.aiohttp_watch import Watch

__all__ = ["MeshResponse", "edit_response", "local_response", "response_class"]


class MeshResponse:
    """Mixed into classes of responses.

    Attributes:
        meshware: what the mesh did.
        mesh_watch: what keeps the exchange open until the body has ended.
    """

    meshware: ExchangeInfo
    mesh_watch: Watch | None = None

    @property
    def _response_eof(self) -> Callable[[], None]:
        # aiohttp hands this to the connection, which would keep a forgotten response for ever.
        response = weakref.ref(self)

        def end() -> None:
            found = response()
            if found is not None:
                super(MeshResponse, found)._response_eof()  # type: ignore[misc]

        return end

    def close(self) -> None:
        """Close the connection."""
        super().close()  # type: ignore[misc]
        if self.mesh_watch is not None:
            self.mesh_watch.abandon()

    def release(self) -> Any:
        """Give the connection back, or close it when there is more to come."""
        released = super().release()  # type: ignore[misc]
        if self.mesh_watch is not None:
            self.mesh_watch.abandon()
        return released

    def __del__(self, *_: Any) -> None:
        if self.mesh_watch is None and hasattr(super(), "__del__"):
            super().__del__()  # type: ignore[misc]
        # else its body may still be read; the watch lets go of the connection


_classes: dict[Any, Any] = {}


def response_class(base: Any) -> Any:
    """Return a subclass of a class of responses that the mesh can watch."""
    if issubclass(base, MeshResponse):
        return base
    found = _classes.get(base)
    if found is None:
        found = _classes[base] = type(base.__name__, (MeshResponse, base), {})
    return found


def edit_response(response: Any, edit: MessageEdit) -> None:
    """Change the headers of a response, cookies included."""
    headers = CIMultiDict(response.headers)
    for name in edit.drop:
        headers.popall(name, None)
    for name, value in edit.append:
        headers.add(name, value)
    drop = {name.encode("ascii") for name in edit.drop}
    raw = [pair for pair in response.raw_headers if pair[0].lower() not in drop]
    raw += [(name.encode("ascii"), value.encode()) for name, value in edit.append]
    response._headers = CIMultiDictProxy(headers)
    response._raw_headers = tuple(raw)
    response._cache.pop("headers", None)
    response._cache.pop("raw_headers", None)
    response._raw_cookie_headers = tuple(headers.getall("set-cookie", ())) or None


async def local_response(request: ClientRequest, reply: Reply) -> ClientResponse:
    """Return the response for a local reply; one to HEAD has no body."""
    protocol = ResponseHandler(loop=request.loop)
    protocol.set_response_params(skip_payload=request.method == "HEAD", read_until_eof=False)
    try:
        reason = http.HTTPStatus(reply.status).phrase
    except ValueError:
        reason = ""
    lines = [f"HTTP/1.1 {reply.status} {reason}", f"content-length: {len(reply.body)}"]
    lines += [f"{name}: {value}" for name, value in reply.headers]
    head = "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n"
    protocol.data_received(head + (b"" if request.method == "HEAD" else reply.body))
    response: Any = response_class(request.response_class)(
        request.method,
        request.original_url,
        writer=None,
        continue100=None,
        timer=None,
        request_info=request.request_info,
        traces=[],
        loop=request.loop,
        session=request.session,
        **_WRITER,
    )
    await response.start(_Nothing(protocol))
    response.meshware = reply.info
    return response  # type: ignore[no-any-return]


class _Nothing:
    """The connection and the writer of a local reply: there are none."""

    output_size = 0
    transport = None

    def __init__(self, protocol: ResponseHandler | None = None) -> None:
        self.protocol = protocol

    def add_callback(self, callback: Callable[[], None]) -> None:
        """Call it at once: everything has come."""
        callback()

    def close(self) -> None:
        """Do nothing."""

    release = close


# Newer versions of aiohttp hand a response its request's writer.
_TAKES_WRITER = "stream_writer" in inspect.signature(ClientResponse.__init__).parameters
_WRITER: dict[str, Any] = {"stream_writer": _Nothing()} if _TAKES_WRITER else {}
