"""The client libraries as one: calls through the mesh that look alike over each of them.

A `Client` is used from the test's own thread. An async library runs in a loop beside it, so that
its connections outlive a call, as they do in an app.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import requests
from anyio.from_thread import BlockingPortal, start_blocking_portal
from client_calls import PATIENCE_S, Cancelled, Client, Once

from meshware.clients.httpx import AsyncMeshTransport, MeshTransport
from meshware.clients.requests import MeshAdapter
from meshware.outbound.drive import ExchangeSource


class ThreadClient(Client):
    """A client of a library for threads."""

    def run(self, function, *arguments):
        return function(*arguments)

    def next(self, chunks):
        return next(chunks, None)

    def cancel_when(self, event, work):
        def handle(_signal, _frame):
            raise Cancelled

        def interrupt() -> None:
            if event.wait(PATIENCE_S):
                signal.pthread_kill(waiting, signal.SIGUSR1)

        waiting = threading.get_ident()
        before = signal.signal(signal.SIGUSR1, handle)
        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            work()
        except Cancelled:
            return
        finally:
            thread.join()
            signal.signal(signal.SIGUSR1, before)
        raise AssertionError("it was not cancelled")


class RequestsClient(ThreadClient):
    def __init__(self, driver, mesh):
        super().__init__(driver)
        self.raw = requests.Session()
        if mesh is not None:
            self.raw.mount("http://", MeshAdapter(mesh))

    def send(self, method, url, body, *, headers, timeout_s, follow):
        data = iter(body) if isinstance(body, Once) else body
        return self.raw.request(
            method,
            url,
            data=data,
            headers=headers,
            timeout=timeout_s,
            stream=True,
            allow_redirects=follow,
        )

    def chunks(self, response):
        return response.iter_content(None if response.raw.chunked else 1)

    def close_response(self, response, chunks):
        response.close()

    def close(self):
        self.raw.close()


class HttpxClient(ThreadClient):
    def __init__(self, driver, mesh):
        super().__init__(driver)
        options = {"verify": False} if mesh is None else {"transport": MeshTransport(mesh)}
        self.raw = driver.module.Client(**options)

    def send(self, method, url, body, *, headers, timeout_s, follow):
        content = iter(body) if isinstance(body, Once) else body
        request = self.raw.build_request(
            method, url, content=content, headers=headers, timeout=timeout_s
        )
        return self.raw.send(request, stream=True, follow_redirects=follow)

    def chunks(self, response):
        return response.iter_bytes()

    def close_response(self, response, chunks):
        response.close()

    def close(self):
        self.raw.close()


class AsyncHttpxClient(Client):
    def __init__(self, driver, mesh, portal: BlockingPortal):
        super().__init__(driver)
        self.portal = portal
        options = {"verify": False} if mesh is None else {"transport": AsyncMeshTransport(mesh)}
        self.raw = portal.call(lambda: driver.module.AsyncClient(**options))
        self._cancel: threading.Event | None = None

    def run(self, function, *arguments):
        event, self._cancel = self._cancel, None
        ended = threading.Event()

        async def noticed():
            try:
                return await function(*arguments)
            finally:
                ended.set()

        future = self.portal.start_task_soon(noticed)
        if event is not None:
            assert event.wait(PATIENCE_S), "it never came so far"
            future.cancel()
            assert ended.wait(PATIENCE_S), "it does not let itself be cancelled"
        return future.result(PATIENCE_S)

    def cancel_when(self, event, work):
        self._cancel = event
        try:
            work()
        except concurrent.futures.CancelledError:
            return
        finally:
            self._cancel = None
        raise AssertionError("it was not cancelled")

    async def send(self, method, url, body, *, headers, timeout_s, follow):
        content = aiter(body) if isinstance(body, Once) else body
        request = self.raw.build_request(
            method, url, content=content, headers=headers, timeout=timeout_s
        )
        return await self.raw.send(request, stream=True, follow_redirects=follow)

    def chunks(self, response):
        return response.aiter_bytes()

    async def next(self, chunks):
        return await anext(chunks, None)

    def close_response(self, response, chunks):
        async def close() -> None:
            await response.aclose()
            if chunks is not None:
                await chunks.aclose()

        self.run(close)

    def close(self):
        self.run(self.raw.aclose)


@dataclass(frozen=True)
class Driver:
    """A library, and how it is driven.

    Attributes:
        module: where its exceptions are.
        backend: of an async library, what runs it; None: it is for threads.
    """

    name: str
    module: ModuleType
    backend: str | None = None

    @property
    def error(self) -> type[Exception]:
        """What every exception of the library is."""
        return self.own("HTTPError", "RequestException")

    def own(self, httpx_name: str, requests_name: str) -> type[Exception]:
        """An exception of the library."""
        found: type[Exception] = getattr(
            self.module, requests_name if self.module is requests else httpx_name
        )
        return found

    @contextmanager
    def client(self, mesh: ExchangeSource | None) -> Iterator[Client]:
        """A client through a mesh; None: one as without the mesh. Closed at the end."""
        if self.backend is not None:
            with (
                start_blocking_portal(self.backend) as portal,
                closing(AsyncHttpxClient(self, mesh, portal)) as client,
            ):
                yield client
        elif self.module is requests:
            with closing(RequestsClient(self, mesh)) as client:
                yield client
        else:
            with closing(HttpxClient(self, mesh)) as client:
                yield client


@contextmanager
def closing(client: Client) -> Iterator[Client]:
    """Close a client at the end."""
    try:
        yield client
    finally:
        client.close()


def _drivers() -> Sequence[Driver]:
    found = [Driver("requests", requests)]
    for name in ("httpx", "httpx2"):
        module = importlib.import_module(name)
        found.append(Driver(name, module))
        found.append(Driver(f"{name} async", module, "asyncio"))
    found.append(Driver("httpx2 trio", importlib.import_module("httpx2"), "trio"))
    return found


DRIVERS = _drivers()
"""Every library and every way to drive it."""
