"""Our listener in the place of the loop's, on asyncio and uvloop: over real sockets, in process."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import ssl

import pytest
import uvloop
from tls_servers import CALLER, World, svid_of

from meshware.identity.tls import verified_peer
from meshware.runtime.mesh import Mesh
from meshware.servers.accept import Listener, MeshLoop

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=LOOPS)
def run(request):
    """Run a coroutine on a loop of either kind."""
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
        yield runner.run


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "run")


@pytest.fixture
def mesh(world):
    found = Mesh.from_env(
        {"MESH_CONFIG": os.fspath(world.policy.path), "MESH_WORKLOAD": "default/app"}
    )
    yield found
    found.stop()


class Echo(asyncio.Protocol):
    """Says who is there and what it was told."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        connection = self.transport.get_extra_info("ssl_object")
        peer = verified_peer(connection) if connection else None
        self.transport.write(f"{peer.id if peer else None} said ".encode() + data)
        self.transport.close()


async def say(where, context=None):
    """Say a word to a listener, and return what comes back."""
    host, port = where
    reader, writer = await asyncio.open_connection(
        host, port, ssl=context, server_hostname="" if context else None
    )
    writer.write(b"some words")
    try:
        return (await reader.read()).decode()
    finally:
        writer.close()


async def listen(mesh, **options):
    """A server on a free port."""
    loop = MeshLoop(asyncio.get_running_loop(), mesh)
    return await loop.create_server(Echo, "127.0.0.1", 0, **options)


def test_both_are_answered_on_one_port(run, world, mesh):
    world.set_mode("PERMISSIVE")
    context = world.client_context(svid_of(world.issuer, CALLER))

    async def main():
        server = await listen(mesh)
        where = server.sockets[0].getsockname()
        said = await asyncio.gather(*(say(where, context if n % 2 else None) for n in range(100)))
        server.close()
        await server.wait_closed()
        return said

    assert run(main()) == ["None said some words", f"{CALLER} said some words"] * 50


def test_one_who_says_nothing_is_dropped_and_keeps_nobody_waiting(run, world, mesh):
    world.set_mode("PERMISSIVE")

    async def main():
        mesh.start()
        listening = socket.create_server(("127.0.0.1", 0))
        server = Listener(asyncio.get_running_loop(), mesh, Echo, [listening], silence_s=0.5)
        server.start()
        where = server.sockets[0].getsockname()
        silent, writer = await asyncio.open_connection(*where)
        assert await say(where) == "None said some words"
        assert await asyncio.wait_for(silent.read(), 5) == b""
        writer.close()
        server.close()
        await server.wait_closed()

    run(main())


def test_one_who_leaves_without_a_word_is_forgotten(run, world, mesh):
    world.set_mode("PERMISSIVE")

    async def main():
        server = await listen(mesh)
        where = server.sockets[0].getsockname()
        for _ in range(20):
            _, writer = await asyncio.open_connection(*where)
            writer.close()
            await writer.wait_closed()
        assert await say(where) == "None said some words"
        assert server._silent == {}
        server.close()
        await server.wait_closed()

    run(main())


def test_a_closed_listener_takes_nobody(run, world, mesh):
    world.set_mode("PERMISSIVE")

    async def main():
        server = await listen(mesh)
        where = server.sockets[0].getsockname()
        assert server.is_serving()
        silent, writer = await asyncio.open_connection(*where)
        await asyncio.sleep(0.1)  # so that it is accepted
        server.close()
        server.close()
        await server.wait_closed()
        assert (server.sockets, server.is_serving()) == ((), False)
        assert await asyncio.wait_for(silent.read(), 5) == b""
        writer.close()
        with pytest.raises(OSError):
            await say(where)

    run(main())


def test_without_descriptors_it_goes_on_when_there_are_some(run, world, mesh):
    world.set_mode("PERMISSIVE")
    told = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, what: told.append(what))
        server = await listen(mesh)
        where = server.sockets[0].getsockname()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        waiting = socket.socket()
        waiting.setblocking(False)
        # The very next descriptor is one too many.
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, limits[1]))
        spent = []
        try:
            try:
                while True:
                    spent.append(os.dup(0))
            except OSError:
                pass
            await asyncio.get_running_loop().sock_connect(waiting, where)
            await asyncio.sleep(0.2)
        finally:
            for each in spent:
                os.close(each)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert told
        assert isinstance(told[0]["exception"], OSError)
        assert await asyncio.wait_for(say(where), 10) == "None said some words"
        waiting.close()
        server.close()
        await server.wait_closed()

    run(main())


def test_a_unix_socket_speaks_as_the_strictest_port(run, world, mesh, tmp_path):
    world.set_mode("PERMISSIVE")
    context = world.client_context(svid_of(world.issuer, CALLER))
    path = str(tmp_path / "listens.sock")

    async def say_there(tls):
        reader, writer = await asyncio.open_unix_connection(
            path, ssl=context if tls else None, server_hostname="" if tls else None
        )
        writer.write(b"some words")
        try:
            return (await reader.read()).decode()
        finally:
            writer.close()

    async def main():
        for _ in range(2):  # the second time over a stale one
            loop = MeshLoop(asyncio.get_running_loop(), mesh)
            server = await loop.create_unix_server(Echo, path)
            assert await say_there(False) == "None said some words"
            assert await say_there(True) == f"{CALLER} said some words"
            server.close()
            await server.wait_closed()
        world.set_mode("PERMISSIVE", ports={"1": "STRICT"})
        mesh._follower.poll_once()
        server = await loop.create_unix_server(Echo, path)
        assert await say_there(True) == f"{CALLER} said some words"
        with pytest.raises((OSError, AssertionError)):
            assert "said" in await say_there(False)
        server.close()
        await server.wait_closed()

    run(main())


def test_an_inherited_descriptor_may_be_of_another_family_than_it_says(run, world, mesh):
    """`uvicorn --fd` takes every descriptor for a Unix socket."""
    world.set_mode("STRICT", ports={"1": "DISABLE"})
    context = world.client_context(svid_of(world.issuer, CALLER))

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listening:
            inherited = socket.fromfd(listening.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)
            loop = MeshLoop(asyncio.get_running_loop(), mesh)
            server = await loop.create_server(Echo, sock=inherited)
            where = listening.getsockname()
            assert await say(where, context) == f"{CALLER} said some words"
            server.close()
            await server.wait_closed()

    run(main())


def test_a_context_of_the_apps_own_is_left_alone(run, world, mesh, caplog):
    world.set_mode("STRICT")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    async def main():
        server = await listen(mesh, ssl=context)
        assert not isinstance(server, Listener)
        server.close()
        await server.wait_closed()

    run(main())
    assert "a TLS context of its own" in caplog.text


def test_without_an_identity_nobody_is_answered_in_the_clear(run, world, mesh):
    world.set_mode("STRICT")
    (world.identity / "svid.pem").unlink()

    async def main():
        server = await listen(mesh)
        where = server.sockets[0].getsockname()
        context = world.client_context(svid_of(world.issuer, CALLER))
        with pytest.raises(OSError):
            await say(where, context)
        with pytest.raises((OSError, AssertionError)):
            assert "said" in await say(where)
        server.close()
        await server.wait_closed()

    run(main())
