"""`meshware check --app`: endpoints that no rule covers, and rules that are for none."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from meshware.cli.main import run

MESHWARE = [str(Path(sys.executable).parent / "meshware"), "check"]

FASTAPI = """\
import fastapi

print("imported")
app = fastapi.FastAPI(openapi_url=None)
router = fastapi.APIRouter()

@router.get("/users/{id}")
def show(id: int): ...

@router.delete("/users/{id}", operation_id="dropUser")
def drop(id: int): ...

app.include_router(router, prefix="/v1")

def make():
    return app
"""
FLASK = """\
import flask

app = flask.Flask(__name__, static_folder=None)

@app.get("/v1/users/<int:id>")
def show(id): ...

@app.delete("/v1/users/<int:id>")
def drop(id):
    '''Drop a user.

    ---
    operationId: dropUser
    '''
"""
STARLETTE = """\
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.routing import Mount, Route

class User(HTTPEndpoint):
    async def get(self, request): ...
    async def delete(self, request):
        '''Drop a user.

        ---
        operationId: dropUser
        '''

app = Starlette(routes=[Mount("/v1", routes=[Route("/users/{id:int}", User)])])
"""
DJANGO = """\
from django.conf import settings

settings.configure(ROOT_URLCONF=__name__)
import django

django.setup()
from django.core.wsgi import get_wsgi_application
from django.urls import include, path
from django.views import View

class User(View):
    def get(self, request, id): ...
    def delete(self, request, id):
        '''Drop a user.

        ---
        operationId: dropUser
        '''

urlpatterns = [path("v1/", include([path("users/<int:id>", User.as_view())]))]
app = get_wsgi_application()
"""
APPS = {"fastapi": FASTAPI, "flask": FLASK, "starlette": STARLETTE, "django": DJANGO}

WORKLOADS = """\
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: web}
spec: {metadata: {labels: {app: web}}, template: {}}
"""
OTHER = """\
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: other}
spec: {metadata: {labels: {app: other}}, template: {}}
"""


def policy(operation: str, action: str = "ALLOW", *, istio: bool = False, more: str = "") -> str:
    """One policy with one operation."""
    group = "security.istio.io/v1" if istio else "meshware.dev/v1alpha1"
    return f"""\
---
apiVersion: {group}
kind: AuthorizationPolicy
metadata: {{name: p}}
spec:
  action: {action}
{more}  rules:
  - to:
    - operation:
        {operation}
"""


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Check an app against policy; return exit code and findings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def check(app, text, *arguments, name="web:app"):
        (tmp_path / "web.py").write_text(app, encoding="utf-8")
        (tmp_path / "policy.yaml").write_text(WORKLOADS + text, encoding="utf-8")
        given = ["policy.yaml", "--app", name, "--workload", "web", *arguments]
        code, out, error = (in_process_of_its_own if app is DJANGO else here)(given)
        if "json" not in arguments or code == 2:
            return code, out, error
        return code, json.loads(out)

    def here(given):
        importlib.invalidate_caches()
        sys.modules.pop("web", None)
        code = run(["check", *given])
        sys.modules.pop("web", None)
        return code, *capsys.readouterr()

    def in_process_of_its_own(given):
        done = subprocess.run(
            [*MESHWARE, *given], capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout, done.stderr

    return check


def found(findings, code):
    """The fields and messages of findings with a code."""
    return [(one["field"], one["message"]) for one in findings if one["code"] == code]


@pytest.mark.parametrize("app", APPS.values(), ids=APPS)
class TestEveryFramework:
    """The same endpoints, whoever routes them."""

    def test_an_app_whose_endpoints_are_all_covered_is_fine(self, check, app):
        """With --strict too."""
        assert check(app, policy('routes: ["/v1/users/{id}"]'), "--strict", "--format", "json") == (
            0,
            [],
        )

    def test_an_endpoint_that_no_allow_rule_covers_is_told(self, check, app):
        """With the file and line of its function."""
        text = policy('{methods: [GET], routes: ["/v1/users/{id}"]}')
        code, findings = check(app, text, "--format", "json", "--strict")
        (one,) = findings
        assert code == 1
        assert (one["severity"], one["code"]) == ("warning", "endpoint-not-covered")
        assert one["message"].startswith("DELETE /v1/users/{id} (web.")
        assert Path(one["file"]).name == "web.py"
        assert one["line"] > 1
        assert one["namespace"] == "default"
        assert check(app, text, "--format", "json")[0] == 0

    def test_an_operation_id_covers_its_endpoint_alone(self, check, app):
        """DELETE has one in each of these apps."""
        code, findings = check(app, policy("operationIds: [dropUser]"), "--format", "json")
        assert [one["message"].split()[0] for one in findings] == ["GET"]
        assert code == 0

    def test_a_value_that_no_endpoint_has_is_told_with_its_line(self, check, app):
        """A slip of the pen in a rule that denies leaves a door open."""
        text = policy('routes: ["/v1/user/{id}"]', "DENY")
        code, findings = check(app, text, "--format", "json", "--strict")
        (one,) = [one for one in findings if one["code"] == "rule-without-endpoint"]
        assert code == 1
        assert one["severity"] == "warning"
        assert one["field"] == "spec.rules[0].to[0].operation.routes[0]"
        assert (one["file"], one["line"]) == ("policy.yaml", 14)
        assert (one["kind"], one["namespace"], one["name"]) == (
            "AuthorizationPolicy",
            "default",
            "p",
        )

    def test_without_any_allow_policy_everything_is_open(self, check, app):
        """And told so, one by one."""
        code, findings = check(app, "", "--format", "json", "--strict")
        assert code == 1
        assert len(found(findings, "endpoint-open")) == 3  # two endpoints, and all of it
        code, findings = check(app, policy('methods: ["*"]', "DENY"), "--format", "json")
        assert [one["severity"] for one in findings] == ["info"]

    def test_people_get_a_table(self, check, app):
        """Of every endpoint, with the rules that are about it."""
        text = policy('routes: ["/v1/*"]') + policy('paths: ["/v1/users/7"]', "DENY", istio=True)
        code, out, _ = check(app, text.replace("name: p}", "name: q}", 1))
        assert code == 0
        rows = [line.split() for line in out.splitlines() if "/v1/users/{id}" in line]
        assert [row[0] for row in rows] == ["GET", "DELETE"]
        assert all(row[-2:] == ["default/q[0]", "default/p[0]"] for row in rows)


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        ("functions: [web.show, web.gone]", ["functions[1]"]),
        ("functions: [show]", []),
        ("notFunctions: [web.gone]", ["notFunctions[0]"]),
        ("notRoutes: [/v1/*, /v2/*]", ["notRoutes[1]"]),
        ("operationIds: [dropUser, dropUsr]", ["operationIds[1]"]),
        ('routes: ["*"]', []),
        ("paths: [/v1/users/7, /v2/x, /v1/users/]", ["paths[1]", "paths[2]"]),
        ('paths: ["/v1/users/{*}"]', []),
        ('notPaths: ["/v2/*"]', ["notPaths[0]"]),
        ('{routes: ["/v1/users/{id}"], methods: [PUT]}', [""]),
        ('{routes: ["/v1/users/{id}"], functions: [show], paths: [/v1/*]}', []),
        ("{functions: [show], operationIds: [dropUser]}", [""]),
        ("{methods: [GET], operationIds: [dropUser]}", [""]),
        ("hosts: [anything.example.org]", []),
    ],
)
def test_a_rule_that_is_for_no_endpoint_is_told_by_its_field(check, operation, fields):
    """Value by value; or the operation, whose values do not go together."""
    _, findings = check(FASTAPI, policy(operation, "DENY"), "--format", "json")
    here = "spec.rules[0].to[0].operation"
    assert [field for field, _ in found(findings, "rule-without-endpoint")] == [
        f"{here}.{field}" if field else here for field in fields
    ]


def test_paths_of_other_workloads_are_no_mistake(check):
    """A policy that selects them too may mean theirs."""
    for more, severity in (("", "info"), ("  selector: {matchLabels: {app: web}}\n", "warning")):
        text = OTHER + policy('paths: ["/v2/x"]', "DENY", istio=True, more=more)
        _, findings = check(FASTAPI, text, "--format", "json")
        told = [one["severity"] for one in findings if one["code"] == "rule-without-endpoint"]
        assert told == [severity]


def test_policies_that_do_not_apply_to_the_workload_are_left_out(check):
    """Of other namespaces, of other labels."""
    text = OTHER + policy("routes: [/x]", more="  selector: {matchLabels: {app: other}}\n")
    _, findings = check(FASTAPI, text, "--format", "json")
    assert {one["code"] for one in findings} == {"endpoint-open"}


def test_what_is_mounted_and_cannot_be_asked_is_told(check):
    """It is denied and never allowed by rules of handlers."""
    app = STARLETTE + "\nasync def raw(scope, receive, send): ...\napp.mount('/raw', raw)\n"
    text = policy('routes: ["/v1/*"]') + policy('paths: ["/raw/x"]', "DENY", istio=True)
    _, findings = check(app, text.replace("name: p}", "name: q}", 1), "--format", "json")
    assert found(findings, "rule-without-endpoint") == []
    assert [message.split(":")[0] for _, message in found(findings, "endpoint-not-seen")] == [
        "/raw/{path"
    ]
    assert len(found(findings, "endpoint-not-covered")) == 1


def test_a_function_may_make_the_app(check):
    """As servers allow it."""
    assert check(FASTAPI, policy('routes: ["*"]'), "--format", "json", name="web:make()") == (0, [])


@pytest.mark.parametrize(
    ("app", "name", "words"),
    [
        (FASTAPI, "wob:app", "importing wob failed: ModuleNotFoundError: No module named 'wob'"),
        (FASTAPI, "web:ap", "web has no ap"),
        (FASTAPI, ":app", "write module:app"),
        ("import nothing_such", "web:app", "importing web failed: ModuleNotFoundError"),
        (
            "1/0",
            "web:app",
            "importing web failed: ZeroDivisionError: division by zero, in web.py:1",
        ),
        ("\nx = (\n", "web:app", "SyntaxError: '(' was never closed (web.py, line 2), in "),
        ("import json\njson.loads('x')", "web:app", "line 1 column 1 (char 0), in web.py:2"),
        ("def f():\n    raise KeyError('x')\nf()", "web:app", "KeyError: 'x', in web.py:2"),
        ("\nimport nothing_such", "web:app", "No module named 'nothing_such', in web.py:2"),
        ("def app(scope): ...", "web:app", "it is neither FastAPI, Starlette, Flask nor Django"),
        ("def app(x): ...", "web:app()", "app() failed: TypeError"),
    ],
    ids=str,
)
def test_an_app_that_cannot_be_had_is_a_mistake_on_the_command_line(check, app, name, words):
    """One sentence, and exit code 2."""
    code, out, error = check(app, "", "--format", "json", name=name)
    assert (code, out) == (2, "")
    assert words in error
    assert error.splitlines()[:-1] in ([], ["imported"])  # what the module itself has printed


def test_the_workload_must_be_known(check):
    """Whose rules, else?"""
    code, _, error = check(FASTAPI, "", "--workload", "wob")
    assert code == 2
    assert "policy has no such WorkloadEntry or WorkloadGroup" in error


@pytest.mark.parametrize("code", [0, 3])
def test_a_module_that_ends_the_process_is_told(code, tmp_path, monkeypatch, capsys):
    """Silence with exit code 0 would pass in continuous integration."""
    (tmp_path / f"leaving{code}.py").write_text(f"import sys\nsys.exit({code})\n")
    (tmp_path / "p.yaml").write_text(
        "apiVersion: networking.istio.io/v1\nkind: WorkloadGroup\nmetadata: {name: web}\n"
        "spec: {template: {}}\n"
    )
    monkeypatch.chdir(tmp_path)
    assert run(["check", "p.yaml", "--app", f"leaving{code}:app", "--workload", "default/web"]) == 2
    assert "SystemExit" in capsys.readouterr().err


MOUNTED = """\
import fastapi
from meshware.asgi import MeshMiddleware

api = fastapi.FastAPI(openapi_url=None)

@api.get("/items/{id}")
def item(id: str): ...

api.add_middleware(MeshMiddleware)
app = fastapi.FastAPI(openapi_url=None)
app.mount("/api", api)

@app.get("/home")
def home(): ...
"""


@pytest.mark.parametrize(
    ("value", "action", "is_covered", "is_known"),
    [
        ("/api/items/{id}", "ALLOW", True, True),
        ("/items/{id}", "ALLOW", False, False),
        ("/api/items/{id}", "DENY", True, True),
        ("/items/{id}", "DENY", True, True),
        ("/other/{id}", "DENY", False, False),
    ],
)
def test_a_mesh_within_a_mount_is_told_as_it_will_decide(
    check, value, action, is_covered, is_known
):
    """By the documented name; what refuses holds for the name within as well."""
    _, findings = check(MOUNTED, policy(f'routes: ["{value}"]', action), "--format", "json")
    assert bool(found(findings, "rule-without-endpoint")) is not is_known
    told = found(findings, "endpoint-not-covered" if action == "ALLOW" else "endpoint-open")
    assert any("/api/items/{id}" in message for _, message in told) is not is_covered


def test_what_stands_in_front_of_no_mesh_of_the_app_is_told(check):
    """A remark: `meshware run`, or whatever serves the app, may put one around all of it."""
    for app, names in (
        (MOUNTED, ["GET /home (web.home)"]),
        (MOUNTED + "app.add_middleware(MeshMiddleware)\n", []),
        (MOUNTED + "app = MeshMiddleware(app)\n", []),
        (FASTAPI, []),
    ):
        _, findings = check(app, policy('routes: ["*"]'), "--format", "json", "--strict")
        told = found(findings, "endpoint-not-guarded")
        assert [message.split(":")[0] for _, message in told] == names
        assert {one["severity"] for one in findings} <= {"info"}


DISPATCHED = """\
import flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

sub = flask.Flask("sub", static_folder=None)

@sub.get("/users/<int:id>")
def show(id): ...

def raw(environ, start_response): ...

app = flask.Flask("web", static_folder=None)
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/in": sub, "/raw": raw})

@app.get("/home")
def home(): ...
"""


def test_what_werkzeugs_dispatcher_mounts_is_listed(check):
    """Flask apps by their endpoints, others by where they are."""
    text = policy('routes: ["/in/users/{id}", "/home"]')
    code, findings = check(DISPATCHED, text, "--format", "json", "--strict")
    assert code == 1
    assert {(one["code"], one["message"].split(":")[0].split(" ")[-1]) for one in findings} == {
        ("endpoint-not-seen", "/raw/{path"),
        ("endpoint-not-covered", "/raw/{path"),
    }


@pytest.mark.parametrize(
    ("operation", "is_closed"),
    [
        ('functions: ["fastapi.*"]', True),
        ('{functions: ["fastapi.*"], methods: [GET]}', True),
        ('{functions: ["fastapi.*"], methods: [POST]}', False),
        ('{functions: ["fastapi.*"], notMethods: [GET]}', False),
        ('{functions: ["fastapi.*"], hosts: [a.example.org]}', False),
        ('{functions: ["fastapi.*"], ports: ["80"]}', False),
        ('{functions: ["fastapi.*"], notPaths: [/docs]}', False),
        ('paths: ["/docs*", "/redoc", "/openapi.json"]', True),
        ('notRoutes: ["/v1/*"]', True),
        ('notFunctions: ["web.*"]', True),
    ],
)
def test_an_endpoint_that_a_rule_closes_to_everybody_is_covered(check, operation, is_closed):
    """So that `--strict` is content with what is refused on purpose, and with nothing less."""
    app = FASTAPI.replace("openapi_url=None", "")
    text = policy('routes: ["/v1/*"]') + policy(operation, "DENY").replace(
        "name: p}", "name: closed}"
    )
    _, findings = check(app, text, "--format", "json", "--strict")
    told = [message for _, message in found(findings, "endpoint-not-covered")]
    assert any("/docs (" in message for message in told) is not is_closed
    if is_closed:
        assert {m.split(" ")[1] for m in told} <= {"/docs/oauth2-redirect"}


@pytest.mark.parametrize(
    "more",
    ['from: [{source: {notPrincipals: ["*"]}}]', 'when: [{key: source.ip, values: ["10.0.0.1"]}]'],
)
def test_a_rule_that_asks_for_more_closes_nothing(check, more):
    """It refuses some."""
    app = FASTAPI.replace("openapi_url=None", "")
    text = policy('routes: ["/v1/*"]') + policy('functions: ["fastapi.*"]', "DENY").replace(
        "name: p}", "name: closed}"
    ).replace("  - to:", f"  - {more}\n    to:")
    _, findings = check(app, text, "--format", "json", "--strict")
    assert len(found(findings, "endpoint-not-covered")) == 4


def test_static_files_of_flask_may_be_closed_by_their_path(check):
    """All that begins so."""
    app = FLASK.replace(", static_folder=None", "")
    text = policy('routes: ["/v1/*"]')
    for value, is_closed in (("/static/*", True), ("/static/a*", False), ("/static/x", False)):
        closing = policy(f'paths: ["{value}"]', "DENY").replace("name: p}", "name: closed}")
        code, _ = check(app, text + closing, "--format", "json", "--strict")
        assert (code == 0) is is_closed, value
