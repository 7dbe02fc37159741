"""The WSGI middleware: ask the gate, then call the app or answer in its place.

Each call runs in a context of its own, from the app's first line to the body's `close()`, so that
nothing of a call stays behind on the server's thread. What is decided is in
`meshware.inbound.gate`; here is only what PEP 3333 asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from http import HTTPStatus
from typing import Any

from meshware.call import Call, Flag, bind_call
from meshware.handlers.forecast import find_by_environ, moved
from meshware.handlers.found import HandlersOfCall, hold_to_handler
from meshware.handlers.mounts import trace_mounts
from meshware.inbound.head import declared_length, look_up
from meshware.inbound.passage import Admission, Ask, Denial
from meshware.runtime.mesh import Mesh
from meshware.wsgi.head import Environ, header_key, inbound_head
from meshware.wsgi.tally import count_received, counting_writer

__all__ = ["MeshMiddleware"]

StartResponse = Callable[..., Callable[[bytes], object]]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

_KEY = "meshware"


class MeshMiddleware:
    """Let the mesh decide every call before the app sees it.

    Within another `MeshMiddleware` it does nothing: the outer one has decided, on the whole path.

    Args:
        app: the WSGI app.
        mesh: None: the process-wide `Mesh.current()`, asked for at the first call.
    """

    def __init__(self, app: App, mesh: Mesh | None = None) -> None:
        self.app = app
        self._mesh = mesh
        trace_mounts()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Carry one WSGI call."""
        if isinstance(environ.get(_KEY), Call):
            return self.app(environ, start_response)
        mesh = self._mesh or Mesh.current()
        mesh.start()
        if not mesh.signs.is_met:
            mesh.signs.meet_wsgi(environ)
        handlers = HandlersOfCall(find_by_environ, self.app, environ)
        passage = mesh.gate.admit(inbound_head(environ, mesh.port, handlers))
        if isinstance(passage, Ask):
            from meshware.wsgi.asking import settle  # not light, and not everybody's

            passage = settle(mesh, passage, environ)
        if passage.is_last:
            _close_behind(start_response)
        if isinstance(passage, Denial):
            return _refuse(passage, environ, start_response)
        context = copy_context()
        return context.run(self._let_in, passage, environ, start_response, context)

    def _let_in(
        self,
        admission: Admission,
        environ: Environ,
        start_response: StartResponse,
        context: Context,
    ) -> Iterable[bytes]:
        bind_call(admission.call)
        if admission.call.span is not None:
            admission.call.span.enter()  # left with the context
        hold_to_handler(admission)
        _edit(environ, admission)
        watched = _Watched(start_response, admission)
        count_received(environ, admission)
        try:
            result = self.app(environ, watched)
        except Exception as error:
            admission.exception = type(error).__qualname__
            admission.finish(500)  # so the server answers in the app's place
            raise
        except BaseException:
            admission.finish(watched.status, Flag.DOWNSTREAM_CLOSED)  # the worker is ending
            raise
        if _hook_file(result, environ, watched, admission, context):
            return result
        body = _SizedBody if hasattr(result, "__len__") else _Body
        return body(result, watched, admission, context)


def _close_behind(start_response: StartResponse) -> None:
    """Have the server close the connection behind its response, where it lets itself be asked.

    PEP 3333 keeps the header for that from apps. gunicorn's response, whose method `start_response`
    is, has a method for it; of the other servers those that keep connections show no certificates.
    """
    force = getattr(getattr(start_response, "__self__", None), "force_close", None)
    if force is not None:
        force()


class _Watched:
    """A `start_response` that notes the status, and the route while the framework knows it."""

    __slots__ = ("_admission", "_edit", "_start_response", "status")

    def __init__(self, start_response: StartResponse, admission: Admission) -> None:
        self._start_response = start_response
        self._admission = admission
        self._edit = admission.response
        self.status = 0

    def __call__(
        self, status: str, headers: list[tuple[str, str]], *arguments: Any
    ) -> Callable[[bytes], object]:
        self._admission.call.route_of()
        if self._edit is not None:
            headers = [pair for pair in headers if pair[0].lower() not in self._edit.drop]
            headers += self._edit.append
        write = self._start_response(status, headers, *arguments)
        self.status = int(status[:3])
        self._admission.answers(look_up(headers))
        return counting_writer(write, self._admission)


class _Body:
    """The app's body: iterated and closed in the call's context; its end ends the call."""

    __slots__ = ("_admission", "_context", "_is_begun", "_iterator", "_result", "_watched")

    def __init__(
        self, result: Iterable[bytes], watched: _Watched, admission: Admission, context: Context
    ) -> None:
        self._result = result
        self._watched = watched
        self._admission = admission
        self._context = context
        self._iterator: Iterator[bytes] | None = None
        self._is_begun = False  # something of the body was sent

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        if self._iterator is None:
            self._iterator = self._context.run(iter, self._result)
        try:
            chunk = self._context.run(next, self._iterator)
        except StopIteration:
            self._admission.finish(self._watched.status)
            raise
        except Exception as error:
            self._admission.exception = type(error).__qualname__
            if self._is_begun:
                self._admission.finish(self._watched.status, Flag.UPSTREAM_TERMINATION)
            else:
                self._admission.finish(500)  # nothing is sent yet, and the server answers so
            raise
        except BaseException:
            self._admission.finish(self._watched.status, Flag.DOWNSTREAM_CLOSED)
            raise
        if chunk:
            self._is_begun = True
            self._admission.sent_bytes += len(chunk)
        return chunk

    def close(self) -> None:
        """End the call; whatever of the body was not asked for by now was not wanted."""
        close = getattr(self._result, "close", None)
        try:
            if close is not None:
                self._context.run(close)
        finally:
            self._admission.finish(self._watched.status, Flag.DOWNSTREAM_CLOSED)


class _SizedBody(_Body):
    """A body of known length, from which servers derive a Content-Length."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._result)  # type: ignore[arg-type]


def _hook_file(
    result: Iterable[bytes],
    environ: Environ,
    watched: _Watched,
    admission: Admission,
    context: Context,
) -> bool:
    """Leave the server its own file wrapper, so that it can send the file without copying.

    Returns whether `close()` of the wrapper now ends the call.
    """
    wrapper = environ.get("wsgi.file_wrapper")
    if not isinstance(wrapper, type) or not isinstance(result, wrapper):
        return False
    close = getattr(result, "close", None)

    def close_and_finish() -> None:
        try:
            if close is not None:
                context.run(close)
        finally:
            found = admission.response_headers
            admission.sent_bytes += (found and declared_length(found("content-length"))) or 0
            admission.finish(watched.status)

    try:
        result.close = close_and_finish  # type: ignore[attr-defined]
    except AttributeError:
        return False
    return True


def _edit(environ: Environ, admission: Admission) -> None:
    """Make the environ what the app is to see."""
    environ[_KEY] = admission.call
    for name in admission.remove:
        environ.pop(header_key(name), None)
    for name, value in admission.add:
        environ[header_key(name)] = value
    path = admission.app_path
    if path is not None and admission.path is not None:
        prefix = environ.get("SCRIPT_NAME", "")
        script, environ["PATH_INFO"] = moved(prefix, path)
        if script != prefix:
            environ["SCRIPT_NAME"] = script
        query = environ.get("QUERY_STRING", "")
        target = f"{admission.path}?{query}" if query else admission.path
        for key in ("RAW_URI", "REQUEST_URI"):
            if key in environ:
                environ[key] = target


def _refuse(denial: Denial, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer in the app's place; the request's body stays unread."""
    code, headers, body = denial.reply
    status = f"{code} {_PHRASES.get(code, 'Unknown')}"
    if code not in (204, 304):
        headers = (*headers, ("content-length", str(len(body))))
    if environ["REQUEST_METHOD"] == "HEAD":
        body = b""
    denial.answers(look_up(headers))
    denial.sent_bytes = len(body)
    try:
        start_response(status, list(headers))
    finally:
        denial.finish(code)
    return [body]


_PHRASES = {status.value: status.phrase for status in HTTPStatus}
