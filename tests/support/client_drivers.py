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
from typing import NamedTuple

import aiohttp
import requests
import urllib3
from anyio.from_thread import BlockingPortal, start_blocking_portal
from client_calls import PATIENCE_S, Cancelled, Client, Once
from client_table import TABLE

from meshware.clients.aiohttp import MeshClientMiddleware
from meshware.clients.httpx import AsyncMeshTransport, MeshTransport
from meshware.clients.requests import MeshAdapter
from meshware.clients.urllib3 import MeshPoolManager
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


class Urllib3Client(ThreadClient):
    def __init__(self, driver, mesh):
        super().__init__(driver)
        self.raw = urllib3.PoolManager() if mesh is None else MeshPoolManager(mesh)

    def send(self, method, url, body, *, headers, timeout_s, follow):
        return self.raw.request(
            method,
            url,
            body=iter(body) if isinstance(body, Once) else body,
            headers=headers,
            timeout=timeout_s,
            preload_content=False,
            redirect=follow,
            retries=urllib3.Retry(connect=0, read=0, redirect=3) if follow else False,
        )

    def get(self, url):
        response = self.raw.request("GET", url, retries=False)
        return response.status, response.data

    def chunks(self, response):
        return response.stream(None if response.chunked else 1)

    def close_response(self, response, chunks):
        response.close()

    def close(self):
        self.raw.clear()


class TaskClient(Client):
    """A client of a library for tasks, in a loop of its own."""

    def __init__(self, driver, portal: BlockingPortal):
        super().__init__(driver)
        self.portal = portal
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

    async def next(self, chunks):
        return await anext(chunks, None)


class AsyncHttpxClient(TaskClient):
    def __init__(self, driver, mesh, portal: BlockingPortal):
        super().__init__(driver, portal)
        options = {"verify": False} if mesh is None else {"transport": AsyncMeshTransport(mesh)}
        self.raw = portal.call(lambda: driver.module.AsyncClient(**options))

    async def send(self, method, url, body, *, headers, timeout_s, follow):
        content = aiter(body) if isinstance(body, Once) else body
        request = self.raw.build_request(
            method, url, content=content, headers=headers, timeout=timeout_s
        )
        return await self.raw.send(request, stream=True, follow_redirects=follow)

    def chunks(self, response):
        return response.aiter_bytes()

    def close_response(self, response, chunks):
        async def close() -> None:
            await response.aclose()
            if chunks is not None:
                await chunks.aclose()

        self.run(close)

    def close(self):
        self.run(self.raw.aclose)


class AiohttpClient(TaskClient):
    def __init__(self, driver, mesh, portal: BlockingPortal):
        super().__init__(driver, portal)
        self.raw = portal.call(self._session, mesh)

    async def _session(self, mesh):
        return aiohttp.ClientSession(
            middlewares=() if mesh is None else (MeshClientMiddleware(mesh),),
            trust_env=True,  # proxies
            cookie_jar=aiohttp.CookieJar(unsafe=True),  # cookies of addresses too
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def send(self, method, url, body, *, headers, timeout_s, follow):
        return await self.raw.request(
            method,
            url,
            data=aiter(body) if isinstance(body, Once) else body,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_read=timeout_s),
            allow_redirects=follow,
        )

    def get(self, url):
        async def get():
            async with self.raw.get(url) as response:
                return response.status, await response.read()

        return self.run(get)

    def chunks(self, response):
        return response.content.iter_any()

    def close_response(self, response, chunks):
        async def close() -> None:
            response.release()

        self.run(close)

    def close(self):
        self.run(self.raw.close)


class Errors(NamedTuple):
    """A library's exceptions."""

    every: type[Exception]  # the root
    headers_timed_out: type[Exception]
    body_timed_out: type[Exception]
    refused: type[Exception]


def _errors(module: ModuleType) -> Errors:
    if module is requests:
        broken = requests.ConnectionError
        return Errors(requests.RequestException, requests.ReadTimeout, broken, broken)
    if module is urllib3:
        found = urllib3.exceptions
        late = found.ReadTimeoutError
        return Errors(found.HTTPError, late, late, found.NewConnectionError)
    if module is aiohttp:
        late = aiohttp.SocketTimeoutError
        return Errors(aiohttp.ClientError, late, late, aiohttp.ClientConnectorError)
    return Errors(module.HTTPError, module.ReadTimeout, module.ReadTimeout, module.ConnectError)


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
    def column(self) -> str:
        """Where `docs/reference/clients.md` tells what it can and cannot do."""
        if self.module in _KINDS:
            return self.name
        return "httpx, httpx2" if self.backend is None else "httpx, httpx2, async"

    def can(self, words: str) -> bool:
        """Whether it does what a row of that table says."""
        return TABLE[words][self.column]

    @property
    def errors(self) -> Errors:
        """The library's exceptions."""
        return _errors(self.module)

    @property
    def error(self) -> type[Exception]:
        """What every exception of the library is."""
        return self.errors.every

    @contextmanager
    def client(self, mesh: ExchangeSource | None) -> Iterator[Client]:
        """A client through a mesh; None: one as without the mesh. Closed at the end."""
        kind = _KINDS.get(self.module, HttpxClient if self.backend is None else AsyncHttpxClient)
        if self.backend is None:
            with closing(kind(self, mesh)) as client:
                yield client
        else:
            with (
                start_blocking_portal(self.backend) as portal,
                closing(kind(self, mesh, portal)) as client,
            ):
                yield client


_KINDS = {requests: RequestsClient, urllib3: Urllib3Client, aiohttp: AiohttpClient}


@contextmanager
def closing(client: Client) -> Iterator[Client]:
    """Close a client at the end."""
    try:
        yield client
    finally:
        client.close()


def _drivers() -> Sequence[Driver]:
    found = [Driver("requests", requests), Driver("urllib3", urllib3)]
    for name in ("httpx", "httpx2"):
        module = importlib.import_module(name)
        found.append(Driver(name, module))
        found.append(Driver(f"{name} async", module, "asyncio"))
    found.append(Driver("httpx2 trio", importlib.import_module("httpx2"), "trio"))
    found.append(Driver("aiohttp", aiohttp, "asyncio"))
    return found


DRIVERS = _drivers()
"""Every library and every way to drive it."""
