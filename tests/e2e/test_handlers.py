"""Rules by handler under real servers: whatever is asked, what they protect never runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from handler_world import by_handler, ours
from inbound_servers import QUIET, SUPPORT, PolicyFile, Server, serving
from inbound_world import policy, to

COMMANDS = {
    "uvicorn h11, FastAPI": ["uvicorn", "--port", "0", "--http", "h11",
                             "served_handlers:fastapi_app"],
    "uvicorn httptools, Starlette": ["uvicorn", "--port", "0", "--http", "httptools",
                                     "served_handlers:starlette_app"],
    "gunicorn asgi, FastAPI": ["gunicorn", *QUIET, "-b", "127.0.0.1:0", "-k", "asgi",
                               "served_handlers:fastapi_app"],
    "gunicorn sync, Flask": ["gunicorn", *QUIET, "-b", "127.0.0.1:0",
                             "served_handlers:flask_app"],
    "gunicorn gthread, Django": ["gunicorn", *QUIET, "-b", "127.0.0.1:0", "-k", "gthread",
                                 "served_handlers:django_app()"],
    "werkzeug, Flask": [sys.executable, str(SUPPORT / "served_handlers.py")],
}  # fmt: skip

# Each is sent as it stands, to what the app has itself and to what it mounts or includes.
TARGETS = [
    prefix + tail
    for prefix in (b"", b"/sub", b"/mounted", b"/old", b"/mounted/sub")
    for tail in (
        b"/admin/users/1",
        b"/admin/users/1/",
        b"//admin/users/1",
        b"/admin//users/1",
        b"/admin/users/%31",
        b"/%61dmin/users/1",
        b"/admin%2fusers%2f1",
        b"/admin/users/1%0a",
        b"/admin/users/1?x=/public/1",
        b"/admin/users/1;x",
        b"/admin/users/..%2f..%2fpublic/1",
        b"/admin/../public/1",
        b"/admin/%2e%2e/public/1",
        b"/public/../admin/users/1",
        b"/public/%2e%2e/admin/users/1",
        b"/public%2f..%2fadmin/users/1",
        b"/./admin/users/1",
        b"/admin/./users/1",
        b"/admin\\users\\1",
        b"/admin/users/1%00",
        b"/admin/users/\xff",
        b"/admin/users/%ff",
        b"/ADMIN/users/1",
        b"/admin",
        b"/admin/",
    )
] + [b"///admin/users/1", b"http://app/admin/users/1", b"http://app//admin/users/1"]
PROTECTED = [f"{prefix}/admin/*" for prefix in ("", "/sub", "/mounted", "/old", "/mounted/sub")]
METHODS = (b"GET", b"HEAD", b"POST", b"OPTIONS", b"get", b"PURGE")
HEADERS = (
    b"",
    b"X-HTTP-Method-Override: POST\r\n",
    b"X-Original-URL: /admin/users/1\r\nX-Rewrite-URL: /admin/users/1\r\n",
    b"X-Forwarded-Prefix: /sub\r\nX-Script-Name: /admin\r\n",
)
LAST = b"Host: app\r\nConnection: close\r\n\r\n"


class Served:
    """A server, and the policy file that it follows."""

    def __init__(self, server: Server, policies: PolicyFile) -> None:
        self.server = server
        self.policies = policies

    def obey(self, *policies) -> None:
        """Put policies in force, and wait until the server goes by them."""
        written = self.policies.write(*policies)
        self.server.wait_for(
            lambda: self.server.get("/runs").said["generation"] == written, "follow"
        )

    def runs(self, name: str) -> int:
        """How often a handler ran."""
        return self.server.get("/runs").said["runs"].get(name, 0)

    def ask_everything(self, targets, methods=METHODS, headers=HEADERS) -> set[str]:
        """Send every request; return the statuses that came back."""
        statuses = set()
        for number, target in enumerate(targets):
            for method in methods if number < 6 else methods[:3:2]:
                for more in headers if method == b"GET" and number < 6 else headers[:1]:
                    head = b"%b %b HTTP/1.1\r\n%b%b" % (method, target, more, LAST)
                    statuses.add(self.server.raw(head)[9:12])
        return statuses


@pytest.fixture(scope="module", params=list(COMMANDS))
def served(request, tmp_path_factory) -> Iterator[Served]:
    """Each framework under a server."""
    place = tmp_path_factory.mktemp("served")
    policies = PolicyFile(place / "run")
    policies.write()
    with serving(COMMANDS[request.param], place, policies.path) as server:
        yield Served(server, policies)


@pytest.mark.parametrize(
    "policies",
    [
        [ours("DENY", by_handler(functions=["secret"]))],
        [ours("DENY", by_handler(routes=PROTECTED))],
        [ours("ALLOW", by_handler(notFunctions=["secret"]))],
        [ours("ALLOW", by_handler(routes=["/public/*", "/sub/public/*", "/runs", "/"]))],
    ],
    ids=["deny by function", "deny by route", "allow all but", "allow by route"],
)
def test_a_protected_handler_never_runs(served, policies):
    """Encoded, doubled, dotted, mounted, in any method: no way leads to it."""
    served.obey(*policies)
    before = served.runs("secret")
    statuses = served.ask_everything(TARGETS)
    assert served.runs("secret") == before
    assert "403" in statuses
    assert not {status for status in statuses if status.startswith("5")}
    assert served.server.get("/").status == 200


def test_without_the_rule_many_of_these_requests_do_reach_it(served):
    """So that the test above says something."""
    served.obey(policy("DENY", to(paths=["/never"])))
    before = served.runs("secret")
    served.ask_everything(TARGETS[:12], methods=(b"GET",), headers=(b"",))
    assert served.runs("secret") - before >= 4


def test_rules_by_route_and_by_path_decide_alike(served):
    """The framework's router and a template of paths, about the same endpoint."""
    by_route = served.obey, ours("DENY", by_handler(routes=["/admin/users/{id}"]))
    by_path = served.obey, policy("DENY", to(paths=["/admin/users/{*}"]))
    found = []
    for obey, one in (by_route, by_path):
        obey(one)
        found.append([served.server.get(path).status
                      for path in ("/admin/users/1", "/runs", "/nothing")])  # fmt: skip
    assert found[0] == found[1] == [403, 200, 404]
