"""Serve the SPIFFE Workload API on a Unix socket: any program of this node gets its own SVIDs.

Theory of operation
-------------------
1. gRPC for Python cannot tell who is at the other end of a Unix socket. So we accept connections
   ourselves, ask the kernel (SO_PEERCRED) whose process it is, and carry the bytes to a gRPC
   server *of that user*, which listens in a directory that nobody else can enter.
2. Each user has a server of its own, made at its first call, with limits of its own: whatever one
   does, it does to itself. Users who are entitled to nothing share one, which only refuses.
3. A stream tells what the user may be handed, and again each time that this changes: it is looked
   for each half second.
4. All of it is one thread with one event loop. Nothing in it can end the daemon; bytes that are no
   gRPC end their own connection.

Only what the files in the run directory say is handed out; see `handouts`. JWT-SVIDs are answered
UNIMPLEMENTED: the mesh's own tokens are bound to a key and go by another way.

Source: SPIFFE Workload API; SPIFFE Workload Endpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from meshware.ca.handouts import Handout, Handouts
from meshware.ca.listening_socket import listen_at, remove_socket
from meshware.errors import MeshError, SyncError
from meshware.identity.bundle import Bundle

__all__ = ["WorkloadAPI"]

_LOOK_S = 0.5
_CHUNK_BYTES = 64 * 1024
_MOST_CONNECTIONS = 64  # of one user; each may carry many streams
_MOST_CALLS = 256  # of one user, at a time
_MOST_MESSAGE_BYTES = 64 * 1024  # of a request: audiences and a token
_HEADER = ("workload.spiffe.io", "true")
_STRANGERS = -1  # no user has this id
_STRANGER_S = 2.0  # then it connects anew, and may have been issued something meanwhile

_log = logging.getLogger("meshware.identity")


class WorkloadAPI:
    """The Workload API on a socket, from construction to `stop`.

    Args:
        path: of the socket.
        handouts: tells what a user may be handed.

    Raises:
        SyncError: the libraries are missing, or the socket cannot be made.
    """

    def __init__(self, path: Path, handouts: Handouts) -> None:
        self._path = path
        self._handouts = handouts
        self._grpc, self._messages = _libraries()
        self._servers: dict[int, str] = {}  # sockets by user
        self._running: list[Any] = []
        self._connections: dict[int, int] = {}
        self._listener = listen_at(path)
        self._inode = path.stat().st_ino
        self._inside = Path(tempfile.mkdtemp(prefix="meshware-"))  # mode 0700
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._making = asyncio.Lock()
        self._thread = threading.Thread(target=self._run, name="workload-api", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End every stream, and remove the socket if it is still ours."""
        with contextlib.suppress(RuntimeError):  # the loop ended by itself
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(5.0)
        remove_socket(self._path, self._inode)
        shutil.rmtree(self._inside, ignore_errors=True)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except Exception:  # the daemon must go on; a thread that died says so
            _log.exception("the Workload API at %s has ended", self._path)
        finally:
            self._listener.close()

    async def _serve(self) -> None:
        server = await asyncio.start_unix_server(
            self._carried, sock=self._listener, limit=_CHUNK_BYTES
        )
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(server.close)
            await self._end.wait()
        for each in self._running:
            await each.stop(0.2)

    # --- connections --------------------------------------------------------------------------

    async def _carried(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry a connection to the server of its user."""
        try:
            uid = _user_of(writer.get_extra_info("socket"))
            # Whoever is entitled to nothing shares one server with all others like that.
            is_known = uid in self._servers or bool(self._handouts.of(uid).svids)
        except (OSError, MeshError) as error:
            _log.error("a caller of the Workload API is turned away: %s", error)
            writer.transport.abort()
            return
        key, most_s = (uid, None) if is_known else (_STRANGERS, _STRANGER_S)
        if self._connections.get(key, 0) >= _MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections[key] = self._connections.get(key, 0) + 1
        inner: asyncio.StreamWriter | None = None
        try:
            at = await self._server_of(key)
            inner_reader, inner = await asyncio.open_unix_connection(at, limit=_CHUNK_BYTES)
            await _first_of(_pump(reader, inner), _pump(inner_reader, writer), most_s=most_s)
        except OSError:
            return  # whoever has gone away is not waited for
        finally:
            for each in (writer, inner):
                if each is not None:
                    each.transport.abort()
            self._connections[key] -= 1
            if not self._connections[key]:
                del self._connections[key]

    async def _server_of(self, key: int) -> str:
        """Return where the server of a user listens."""
        async with self._making:
            found = self._servers.get(key)
            if found is not None:
                return found
            found = str(self._inside / f"{key}.sock")
            options = [
                ("grpc.max_receive_message_length", _MOST_MESSAGE_BYTES),
                ("grpc.max_metadata_size", 8192),
            ]
            server = self._grpc.aio.server(options=options, maximum_concurrent_rpcs=_MOST_CALLS)
            server.add_generic_rpc_handlers((self._calls_of(key),))
            server.add_insecure_port(f"unix:{found}")
            await server.start()
            self._running.append(server)
            self._servers[key] = found
            return found

    # --- calls --------------------------------------------------------------------------------

    def _calls_of(self, uid: int) -> Any:
        """Return what answers the calls of a user."""
        grpc, messages = self._grpc, self._messages

        async def svids(_request: Any, context: Any) -> AsyncIterator[Any]:
            async for handout in self._changes(uid, context):
                yield _svids_message(messages, handout)

        async def bundles(_request: Any, context: Any) -> AsyncIterator[Any]:
            last = None
            async for handout in self._changes(uid, context):
                if handout.bundles != last:
                    last = handout.bundles
                    yield messages.X509BundlesResponse(bundles=_by_domain(handout.bundles))

        async def none(_request: Any, context: Any) -> Any:
            await self._admit(context)
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "there are no JWT-SVIDs here")

        async def no_stream(_request: Any, context: Any) -> AsyncIterator[Any]:
            await none(_request, context)
            yield messages.JWTBundlesResponse()  # never reached: it makes this a stream

        def handler(kind: Callable[..., Any], call: Any, request: Any) -> Any:
            return kind(
                call,
                request_deserializer=request.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )

        stream, unary = grpc.unary_stream_rpc_method_handler, grpc.unary_unary_rpc_method_handler
        return grpc.method_handlers_generic_handler(
            "SpiffeWorkloadAPI",
            {
                "FetchX509SVID": handler(stream, svids, messages.X509SVIDRequest),
                "FetchX509Bundles": handler(stream, bundles, messages.X509BundlesRequest),
                "FetchJWTSVID": handler(unary, none, messages.JWTSVIDRequest),
                "FetchJWTBundles": handler(stream, no_stream, messages.JWTBundlesRequest),
                "ValidateJWTSVID": handler(unary, none, messages.ValidateJWTSVIDRequest),
            },
        )

    async def _admit(self, context: Any) -> None:
        """Refuse a call that a web page or a proxy may have been tricked into."""
        if _HEADER not in [tuple(pair) for pair in context.invocation_metadata() or ()]:
            said = f"the metadata {_HEADER[0]}: {_HEADER[1]} is missing"
            await context.abort(self._grpc.StatusCode.INVALID_ARGUMENT, said)

    async def _changes(self, uid: int, context: Any) -> AsyncIterator[Handout]:
        """Tell what a user may be handed, now and whenever it changes, while the call lasts."""
        await self._admit(context)
        last = None
        while True:
            handout = self._handouts.of(uid)
            own = [bundle.trust_domain for bundle in handout.bundles]
            if not handout.svids or handout.trust_domain not in own:
                said = "no identity is issued to this user"
                await context.abort(self._grpc.StatusCode.PERMISSION_DENIED, said)
            if handout != last:
                last = handout
                yield handout
            await asyncio.sleep(_LOOK_S)


# --- messages -------------------------------------------------------------------------------------


def _svids_message(messages: Any, handout: Handout) -> Any:
    own = b"".join(_der(each) for each in handout.bundles if _is_own(each, handout))
    foreign = tuple(each for each in handout.bundles if not _is_own(each, handout))
    return messages.X509SVIDResponse(
        svids=[
            messages.X509SVID(
                spiffe_id=str(svid.id),
                x509_svid=b"".join(each.public_bytes(Encoding.DER) for each in svid.chain),
                x509_svid_key=svid.key.private_bytes(
                    Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
                ),
                bundle=own,
            )
            for svid in handout.svids
        ],
        federated_bundles=_by_domain(foreign),
    )


def _is_own(bundle: Bundle, handout: Handout) -> bool:
    return bundle.trust_domain == handout.trust_domain


def _by_domain(bundles: tuple[Bundle, ...]) -> dict[str, bytes]:
    return {f"spiffe://{bundle.trust_domain}": _der(bundle) for bundle in bundles}


def _der(bundle: Bundle) -> bytes:
    return b"".join(root.public_bytes(Encoding.DER) for root in bundle.roots)


# --- small parts ----------------------------------------------------------------------------------


def _libraries() -> tuple[Any, Any]:
    """Return gRPC and the messages of the Workload API.

    Raises:
        SyncError: they are not installed, or are of a version that is laid out in another way.
    """
    try:
        importlib.import_module("grpc.aio")
        messages = importlib.import_module("spiffe._proto.workload_pb2")
        return importlib.import_module("grpc"), messages
    except ImportError as error:
        raise SyncError(
            f"--workload-api needs a library that cannot be imported ({error}): "
            'pip install "meshware[spiffe]"'
        ) from error


def _user_of(sock: Any) -> int:
    """Return the user id of the process that connected."""
    packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("iII", packed)
    return int(uid)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        writer.write(data)
        await writer.drain()


async def _first_of(*each: Coroutine[Any, Any, None], most_s: float | None) -> None:
    """Wait until one has ended, or so many seconds, and end the others."""
    tasks = [asyncio.ensure_future(one) for one in each]
    try:
        await asyncio.wait(tasks, timeout=most_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
