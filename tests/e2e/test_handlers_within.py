"""Rules by route under real servers, where the mesh stands within what is mounted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from handler_world import by_handler, ours
from inbound_servers import QUIET, PolicyFile, Server, serving
from inbound_world import policy, to

GUNICORN = ["gunicorn", *QUIET, "-b", "127.0.0.1:0"]
ASGI = ["/a", "/b", "/c", "/d/acme", "/e/e/e", "/f"]
NAMED = ["/a", "/b", "/c", "/d/{tenant}", "/e/e/e", "/f", ""]  # the last is a host's
WSGI = ["/a", "/b/b", "/b/b/in"]
COMMANDS = {
    "uvicorn h11": (["uvicorn", "--port", "0", "--http", "h11", "served_within:asgi"], ASGI),
    "uvicorn httptools, root path": (
        ["uvicorn", "--port", "0", "--http", "httptools", "--root-path", "/pre",
         "served_within:asgi"], ASGI),
    "gunicorn asgi": ([*GUNICORN, "-k", "asgi", "served_within:asgi"], ASGI),
    "gunicorn sync": ([*GUNICORN, "served_within:wsgi"], WSGI),
    "gunicorn gthread, SCRIPT_NAME": (
        [*GUNICORN, "-k", "gthread", "-e", "SCRIPT_NAME=/pre", "served_within:wsgi"], WSGI),
}  # fmt: skip
TAILS = [
    "/admin/users/1", "/admin/class/1", "/admin/slash/", "/admin/slash", "/admin/socket/1",
    "/admin/users/1/", "//admin/users/1", "/admin//users/1", "/admin/users/%31",
    "/%61dmin/users/1", "/admin%2fusers%2f1", "/admin/users/1%0a", "/admin/users/1;x",
    "/public/../admin/users/1", "/public/%2e%2e/admin/users/1", "/public%2f..%2fadmin/users/1",
    "/./admin/users/1", "/../admin/users/1", "/../../admin/users/1",
]  # fmt: skip
SPELLED = ["", "/%61", "/x/..", "/"]  # in front of it all
SOCKET = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
SECRETS = [
    f"{mount}/admin/{tail}"
    for mount in {*NAMED, *WSGI}
    for tail in ("users/{id}", "class/{id}", "slash/", "socket/{id}", "{rest}")
]


METHODS = (b"GET", b"HEAD", b"POST", b"OPTIONS", b"get", b"PURGE")
LAST = b"Host: app\r\nConnection: close\r\n\r\n"


class Within:
    """A server, with the prefix that is written in front, and the mounts of its app."""

    def __init__(
        self, server: Server, policies: PolicyFile, prefix: str, mounts: list[str]
    ) -> None:
        self.server = server
        self.policies = policies
        self.prefix = prefix
        self.mounts = mounts

    def obey(self, *policies) -> None:
        """Put policies in force, and wait until the server goes by them."""
        written = self.policies.write(*policies)
        runs = f"{self.prefix}/runs"
        self.server.wait_for(lambda: self.server.get(runs).said["generation"] == written, "follow")

    def runs(self, name: str) -> int:
        """How often a handler ran."""
        return self.server.get(f"{self.prefix}/runs").said["runs"].get(name, 0)

    def ask_for_secrets(self, mounts=None) -> set[str]:
        """Ask for every secret in every way; return the statuses."""
        statuses = set()
        for mount in mounts or self.mounts:
            for number, tail in enumerate(TAILS):
                for method in METHODS if number < 5 else METHODS[:1]:
                    statuses.add(self.ask(method, mount + tail))
            if mount != "/f":  # Starlette's bridge to WSGI fails of a WebSocket by itself
                statuses.add(self.ask(b"GET", f"{mount}/admin/socket/1", SOCKET))
            for front in SPELLED:
                statuses.add(self.ask(b"GET", f"{front}{mount}/admin/users/1"))
        for tail in TAILS:
            statuses.add(self.ask(b"GET", tail, host=b"other"))
        return statuses

    def ask(self, method: bytes, path: str, headers: bytes = b"", host: bytes = b"app") -> str:
        """Send one request."""
        target = f"{self.prefix}{path}".encode()
        last = LAST if not headers else b"Host: app\r\n\r\n"
        last = last.replace(b"app", host)
        return self.server.raw(b"%b %b HTTP/1.1\r\n%b%b" % (method, target, headers, last))[9:12]


@pytest.fixture(scope="module", params=list(COMMANDS))
def within(request, tmp_path_factory) -> Iterator[Within]:
    """The apps under a server."""
    place = tmp_path_factory.mktemp("within")
    policies = PolicyFile(place / "run")
    policies.write()
    command, mounts = COMMANDS[request.param]
    with serving(command, place, policies.path) as server:
        yield Within(server, policies, "/pre" if "SCRIPT_NAME" in request.param else "", mounts)


@pytest.mark.parametrize(
    "policies",
    [
        [ours("DENY", by_handler(routes=SECRETS))],
        [ours("DENY", by_handler(routes=["/admin/*"]))],
        [ours("ALLOW", by_handler(routes=[f"{mount}/public/*" for mount in {*NAMED, *WSGI}]))],
        [ours("ALLOW", by_handler(notRoutes=SECRETS))],
        [ours("DENY", by_handler(functions=["secret", "Secret", "fast_secret", "talk"]))],
    ],
    ids=["deny", "deny by the name within", "allow", "allow all but", "deny by function"],
)
def test_what_is_protected_never_runs(within, policies):
    """However it is asked for, and wherever its mesh stands."""
    within.obey(*policies)
    before = within.runs("secret")
    statuses = within.ask_for_secrets()
    assert within.runs("secret") == before
    assert "403" in statuses
    assert not {status for status in statuses if status.startswith("5")}


def test_without_the_rule_it_does_run(within):
    """And so does what is public, with the rule that allows it."""
    within.obey(policy("DENY", to(paths=["/never"])))
    before = within.runs("secret")
    within.ask_for_secrets()
    assert within.runs("secret") - before >= 10 * len(within.mounts)
    within.obey(
        ours("ALLOW", by_handler(routes=[f"{mount}/public/*" for mount in {*NAMED, *WSGI}]))
    )
    for mount in within.mounts:
        assert within.ask(b"GET", f"{mount}/public/x") == "200", mount
        assert within.ask(b"GET", f"{mount}/public") in ("403", "404"), mount


def test_a_mount_alone_is_meant_where_it_is_named(within):
    """The other mounts of the same app go on."""
    within.obey(ours("DENY", by_handler(routes=["/a/public/*"])))
    for mount in within.mounts:
        status = within.ask(b"GET", f"{mount}/public/x")
        assert status == ("403" if mount == "/a" else "200"), mount
