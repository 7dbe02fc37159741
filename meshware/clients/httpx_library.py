"""What differs between httpx and httpx2 (nothing but the module), and what both look like to us.

A `Library` is made once for each of them, when its first request comes by: the class of a request
tells whose it is, so neither is imported here.
"""

from __future__ import annotations

import importlib
import ssl
import sys
from functools import cached_property
from typing import Any

from meshware.call import Failure, FailureKind, HeaderLookup, Reply, RequestHead, current_call
from meshware.clients.deadline import Attempt
from meshware.clients.failures import connect_detail, tls_detail
from meshware.clients.httpx_bodies import body_classes
from meshware.clients.replay import Kept

__all__ = ["Library", "header_lookup", "library_of"]

_CORES = {"httpx": "httpcore", "httpx2": "httpcore2"}
_DEFAULT_PORTS = {"http": 80, "https": 443}

# Exceptions that mean that an attempt failed, by the name that they have in a library and in its
# core: the kind, and whether the request may have been sent. Others are the caller's mistakes and
# go to the caller.
_FAILURES = {
    "ConnectTimeout": (FailureKind.CONNECT_TIMEOUT, False),
    "PoolTimeout": (FailureKind.TIMEOUT, False),
    "ReadTimeout": (FailureKind.TIMEOUT, True),
    "WriteTimeout": (FailureKind.TIMEOUT, True),
    "ConnectError": (FailureKind.CONNECT, False),
    "ReadError": (FailureKind.RESET, True),
    "WriteError": (FailureKind.RESET, True),
    "CloseError": (FailureKind.RESET, True),
    "RemoteProtocolError": (FailureKind.PROTOCOL, True),
    "ProxyError": (FailureKind.CONNECT, True),
}


class Library:
    """One client library: its classes, and its words for what happens on the way.

    Attributes:
        module, core: the library, and the package below it that does the network.
        request_class: of the requests that are made for attempts.
    """

    def __init__(self, name: str) -> None:
        module: Any = importlib.import_module(name)
        core: Any = importlib.import_module(_CORES[name])
        self.module = module
        self.core = core
        self.request_class: Any = _attempt_request_class(module.Request)
        self.once_class: Any = _once_class(module)
        self.sync_body_class, self.async_body_class = body_classes(module)
        self._byte_stream: type = module.ByteStream
        self._failures: dict[type, tuple[FailureKind, bool]] = {}
        self._own: dict[type, Any] = {}  # exceptions of the core -> the library's
        for cls_name, meaning in _FAILURES.items():
            own = getattr(module, cls_name)
            self._failures[own] = meaning
            if hasattr(core, cls_name):
                self._failures[getattr(core, cls_name)] = meaning
        for cls_name in core.__all__:
            found = getattr(core, cls_name)
            if isinstance(found, type) and issubclass(found, Exception):
                self._own[found] = getattr(module, cls_name, None)

    @cached_property
    def ssl_context(self) -> ssl.SSLContext:
        """The library's own TLS settings, made once: they hold every public authority."""
        context: ssl.SSLContext = self.module.create_ssl_context()
        return context

    # --- requests -----------------------------------------------------------------------------

    def is_replayable(self, request: Any) -> bool:
        """Return whether the body can be sent again: bytes, or none at all."""
        return isinstance(request.stream, self._byte_stream)

    def head(self, request: Any, *, replayable: bool) -> RequestHead:
        """Describe a request to the exchange."""
        url = request.url
        extensions = request.extensions
        scheme = url.scheme
        target = extensions.get("target")
        timeouts = extensions.get("timeout")
        return RequestHead(
            method=request.method,
            scheme=scheme,
            host=url.raw_host.decode("ascii").rstrip("."),
            port=url.port or _DEFAULT_PORTS.get(scheme, 80),
            authority=request.headers.get("host", ""),
            target=(url.raw_path if target is None else target).decode("latin-1"),
            headers=header_lookup(request.headers),
            replayable=replayable,
            wait_s=timeouts.get("read") if timeouts else None,
            call=current_call(),
        )

    # --- responses ----------------------------------------------------------------------------

    def reply(self, request: Any, reply: Reply) -> Any:
        """Build the response for a local reply; one to HEAD has no body."""
        body = reply.body
        return self.module.Response(
            reply.status,
            headers=[("content-length", str(len(body))), *reply.headers],
            stream=self._byte_stream(b"" if request.method == "HEAD" else body),
            extensions={"http_version": b"HTTP/1.1", "meshware": reply.info},
        )

    # --- exceptions ---------------------------------------------------------------------------

    def failure(self, error: Exception, attempt: Attempt) -> Failure | None:
        """Say how an attempt failed, or None when it is not for the mesh to judge."""
        meaning = self._meaning(error)
        if meaning is None:
            return None
        kind, sent = meaning
        detail = str(error)
        if kind is FailureKind.CONNECT:
            tls = tls_detail(error)
            if tls is not None:
                kind, detail = FailureKind.TLS, tls
            else:
                detail = connect_detail(error)
        elif kind is FailureKind.CONNECT_TIMEOUT:
            if attempt.is_over():  # it was not connecting that took too long
                kind = FailureKind.TIMEOUT
        elif kind is FailureKind.PROTOCOL and not attempt.received:
            # Closed before the first byte? Otherwise a part of a head came: a broken answer.
            is_closed = attempt.ended or detail.startswith("Server disconnected")
            kind = FailureKind.TERMINATED if is_closed else kind
        is_stale = attempt.is_stale and kind in (FailureKind.RESET, FailureKind.TERMINATED)
        return Failure(kind, sent or attempt.sent, detail, is_stale)

    def body_failure(self, error: Exception) -> FailureKind:
        """Say how a body failed."""
        meaning = self._meaning(error)
        return FailureKind.PROTOCOL if meaning is None else meaning[0]

    def own(self, error: Exception, request: Any) -> Exception:
        """Return the library's exception for one of its core's; any other as it is."""
        for cls in type(error).__mro__:
            own = self._own.get(cls)
            if own is not None:
                translated: Exception = own(str(error), request=request)
                translated.__cause__ = error
                return translated
        return error

    def timed_out(self, request: Any, message: str) -> Exception:
        """Return the library's read time-out."""
        error: Exception = self.module.ReadTimeout(message, request=request)
        return error

    def is_failure(self, error: Exception) -> bool:
        """Return whether an exception tells that the network or the upstream failed."""
        return self._meaning(error) is not None

    def _meaning(self, error: Exception) -> tuple[FailureKind, bool] | None:
        for cls in type(error).__mro__:
            meaning = self._failures.get(cls)
            if meaning is not None:
                return meaning
        return None


def header_lookup(headers: Any) -> HeaderLookup:
    """Return how the core looks a header up; `get_list` takes each header apart at each call."""
    table: list[tuple[bytes, bytes]] | None = None

    def values(name: str) -> list[str]:
        nonlocal table
        if table is None:
            table = [(raw_name.lower(), value) for raw_name, value in headers.raw]
        wanted = name.encode("ascii", "replace")
        return [_text(value) for raw_name, value in table if raw_name == wanted]

    return values


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


_libraries: dict[type, Library] = {}
_by_name: dict[str, Library] = {}


def library_of(request: object) -> Library:
    """Return the library that a request belongs to.

    Raises:
        TypeError: it is neither of httpx nor of httpx2.
    """
    library = _libraries.get(type(request))
    if library is not None:
        return library
    for cls in type(request).__mro__:
        name = cls.__module__.partition(".")[0]
        if name in _CORES and name in sys.modules:
            library = _by_name.get(name)
            if library is None:
                library = _by_name.setdefault(name, Library(name))
            _libraries[type(request)] = library
            return library
    raise TypeError(f"a request of httpx or httpx2 is needed, not {type(request).__qualname__}")


def _attempt_request_class(request_class: Any) -> Any:
    """Make the class of the request that an inner transport is given for one attempt.

    Its URL says where to dial. It is made when asked for: parsing one costs more than everything
    else that an attempt adds, and not every transport looks at it.
    """

    class AttemptRequest(request_class):  # type: ignore[misc]
        def __init__(
            self,
            original: Any,
            *,
            headers: Any,
            stream: Any,
            extensions: dict[str, Any],
            dial: tuple[str, int] | None,
            target: bytes | None,
        ) -> None:
            self.__dict__.update(original.__dict__)  # not built anew: it was, and is complete
            self.headers = headers
            self.stream = stream
            self.extensions = extensions
            self._dial = dial
            self._target = target
            self._url = original.url

        @property
        def url(self) -> Any:
            if self._dial is not None:
                address, port = self._dial
                self._url = self._url.copy_with(host=address, port=port)
                if self._target is not None:
                    self._url = self._url.copy_with(raw_path=self._target)
                self._dial = None
            return self._url

        @url.setter
        def url(self, value: Any) -> None:
            self._dial = None
            self._url = value

    return AttemptRequest


def _once_class(module: Any) -> Any:
    """Make the class of a body that can be read only once, of which something may be kept."""

    class Once(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, stream: Any) -> None:
            self.stream = stream
            self.kept = Kept()

        def __iter__(self) -> Any:
            self._begin()
            return self.kept.read(self.stream)

        def __aiter__(self) -> Any:
            self._begin()
            return self.kept.read_async(self.stream)

        def _begin(self) -> None:
            if not self.kept.can_be_sent:  # never a second time with what the first has left over
                raise module.StreamConsumed()

        def close(self) -> None:
            self.stream.close()

        async def aclose(self) -> None:
            await self.stream.aclose()

    return Once
