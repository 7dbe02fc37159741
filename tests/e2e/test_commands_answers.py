"""What programs read of `meshware check` and `meshware explain`: fields, order and exit codes."""

from __future__ import annotations

import json
import re

import pytest
from command_forge import forging
from sync_runs import SYNC

MESH = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9080, name: http, protocol: HTTP}]
  endpoints: [{address: 10.0.0.1}, {address: 10.0.0.2}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
    - name: all
      route: [{destination: {host: reviews}}]
      timeout: 3s
      retries: {attempts: 2, perTryTimeout: 1s, retryOn: 5xx}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: web}
spec: {address: 10.0.0.9, labels: {app: web}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers}
spec:
  action: ALLOW
  rules: [{to: [{operation: {methods: [GET]}}]}]
"""

PROBLEM = ["severity", "code", "kind", "namespace", "name", "field", "file", "line", "message"]
INBOUND = [
    "verdict",
    "status",
    "body",
    "policy",
    "rule",
    "principal",
    "request_principal",
    "candidates",
]
OUTBOUND = ["route", "destination", "subset", "port", "endpoints", "timeout_s", "retries", "flag"]
# What is told besides the contract's fields, for people who ask why.
MORE_INBOUND = [
    "reason", "place", "audited", "shadow", "shadow_policy", "shadow_rule", "asks", "detail",
    "telemetries",
]  # fmt: skip
MORE_OUTBOUND = [
    "safe_to_repeat", "status", "service", "virtual_service", "why", "rules", "destinations",
    "picked", "other_endpoints", "levels", "not_ejected", "connect_timeout_s", "retries_from",
    "retries_why",     "fault", "redirect_to", "mirrors", "sent", "settings", "policies",
]  # fmt: skip

EXPLAIN = ("explain", "--policy", "mesh", "--workload", "default/web")


@pytest.fixture(scope="module")
def forge(tmp_path_factory):
    """A maker of commands, in a directory with good policy in `mesh/`."""
    place = tmp_path_factory.mktemp("answers")
    (place / "mesh").mkdir()
    (place / "mesh" / "mesh.yaml").write_text(MESH, encoding="utf-8")
    with forging(place) as made:
        yield made


def ask(forge, *options: str, lines: list[dict]):
    """Ask questions, one a line."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    return forge.run(*EXPLAIN, *options, stdin=text.encode())


# --- check ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faulty(forge):
    """A directory with a mistake or two in each of its files."""
    place = forge.place / "faulty"
    (place / "deep").mkdir(parents=True)
    texts = {
        "z.yaml": MESH.replace("retryOn", "retryon"),
        "a.yaml": "kind: Nothing\n",
        "deep/m.yaml": "x: [\n",
        "b.yaml": MESH.replace("name: readers", "name: others").replace("methods", "metods"),
        "c.yaml": "a: 1\n\xff".encode("latin-1").decode("latin-1"),
    }
    for name, text in texts.items():
        (place / name).write_bytes(text.encode("latin-1" if name == "c.yaml" else "utf-8"))
    return place


def test_check_tells_all_problems_of_all_files_at_once_in_order(forge, faulty):
    """By file, line and field; a file that is no YAML hides nothing of the others."""
    ended = forge.run("check", "faulty", "--format", "json")
    problems = ended.json()
    assert (ended.code, ended.err) == (1, "")
    assert {problem["file"] for problem in problems} == {
        f"faulty/{name}" for name in ("a.yaml", "b.yaml", "c.yaml", "deep/m.yaml", "z.yaml")
    }
    places = [(p["file"], p["line"], p["field"] or "") for p in problems]
    assert places == sorted(places)
    assert all(list(problem) == PROBLEM for problem in problems)
    assert all(problem["namespace"] and problem["line"] >= 1 for problem in problems)
    assert {p["field"] for p in problems} >= {
        "spec.http[0].retries.retryon",
        "spec.rules[0].to[0].operation.metods",
    }


def test_check_tells_people_the_same_a_line_for_each(forge, faulty):
    """And a last line that counts them."""
    problems = forge.run("check", "faulty", "--format", "json").json()
    ended = forge.run("check", "faulty")
    *lines, last = ended.out.splitlines()
    assert ended.code == 1
    assert [line.split(" ")[0] for line in lines] == [f"{p['file']}:{p['line']}:" for p in problems]
    errors = sum(problem["severity"] == "error" for problem in problems)
    assert f"{errors} errors" in last


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--strict",), 1)])
@pytest.mark.parametrize("output", ["text", "json"])
def test_check_fails_for_a_warning_only_where_it_is_strict(forge, options, code, output):
    """A kind that is Istio's and not ours is such: one directory can serve both."""
    warned = forge.place / "warned.yaml"
    warned.write_text(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {}\n",
        encoding="utf-8",
    )
    ended = forge.run("check", "warned.yaml", "mesh", "--format", output, *options)
    assert (ended.code, ended.err) == (code, "")
    assert "warning" in ended.out


# --- explain --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "side", "fields", "code"),
    [
        ({"direction": "inbound", "path": "/a?b=c"}, "inbound", INBOUND + MORE_INBOUND, 0),
        ({"direction": "inbound", "method": "PUT"}, "inbound", INBOUND + MORE_INBOUND, 1),
        ({"direction": "inbound", "path": "x"}, "inbound", INBOUND + MORE_INBOUND, 1),
        ({"direction": "outbound", "host": "reviews:9080"}, "outbound",
         OUTBOUND + MORE_OUTBOUND, 0),
        ({"direction": "outbound", "host": "elsewhere.example.org"}, "outbound",
         OUTBOUND + MORE_OUTBOUND, 0),
    ],
    ids=["let in", "denied", "malformed", "routed", "passed through"],
)  # fmt: skip
def test_explain_answers_with_the_fields_of_the_contract(forge, question, side, fields, code):
    """All of them, always; the side that was not asked for is null."""
    ended = ask(forge, "--format", "json", lines=[{"id": "q", **question}])
    answer = ended.json()
    assert (ended.code, ended.err) == (code, "")
    assert sorted(answer) == ["id", "inbound", "outbound"]
    assert answer["id"] == "q"
    assert [name for name in ("inbound", "outbound") if answer[name] is not None] == [side]
    assert sorted(answer[side]) == sorted(fields)


def test_explain_says_what_the_policy_says(forge):
    """Istio's number of retries, seconds as numbers, endpoints with address, port and state."""
    [inbound, outbound] = [
        json.loads(line)
        for line in ask(
            forge,
            "--batch",
            lines=[
                {"id": 1, "direction": "inbound", "method": "PUT", "source": {"principal": "t/x"}},
                {"id": 2, "direction": "outbound", "host": "reviews", "port": 9080},
            ],
        ).out.splitlines()
    ]
    said = inbound["inbound"]
    assert (said["verdict"], said["status"], said["body"]) == ("deny", 403, "RBAC: access denied")
    assert (said["principal"], said["request_principal"]) == ("t/x", None)
    assert said["candidates"] == ["/"]
    said = outbound["outbound"]
    assert (said["route"], said["port"], said["subset"]) == ("all", 9080, None)
    assert said["destination"] == "reviews.default.svc.cluster.local"
    assert said["endpoints"] == [
        {"address": f"10.0.0.{last}", "port": 9080, "state": "healthy"} for last in (1, 2)
    ]
    assert (said["timeout_s"], said["flag"]) == (3.0, "-")
    assert said["retries"] == {"attempts": 2, "per_try_timeout_s": 1.0, "on": ["5xx"]}


def test_explain_says_why_with_the_line_that_says_it(forge):
    """In JSON and in words; an endpoint is ejected as far as policy lets it be."""
    question = {"direction": "outbound", "host": "reviews:9080", "ejected": ["10.0.0.1:9080"]}
    said = ask(forge, "--format", "json", lines=[question]).json()["outbound"]
    [rule] = said["rules"]
    line = MESH[: MESH.index("- name: all")].count("\n") + 1
    assert (rule["state"], rule["file"], rule["line"]) == ("taken", "mesh/mesh.yaml", line)
    assert [kept["endpoint"] for kept in said["not_ejected"]] == ["10.0.0.1:9080"]
    assert {endpoint["state"] for endpoint in said["endpoints"]} == {"healthy"}
    ended = ask(forge, lines=[question])
    assert ended.code == 0
    assert f'rule 0 ("all") matched: it takes every call (mesh/mesh.yaml:{line})' in ended.out
    assert "10.0.0.1:9080 is not ejected: no outlierDetection is in force" in ended.out


def test_a_batch_has_one_line_out_for_each_line_in(forge):
    """In order, and 0 though calls are refused; 2 where a line could not be read."""
    lines = [
        {"id": number, "direction": "inbound", "method": "GET" if number % 2 else "PUT"}
        for number in range(200)
    ]
    ended = ask(forge, "--batch", lines=lines)
    answers = [json.loads(line) for line in ended.out.splitlines()]
    assert (ended.code, ended.err) == (0, "")
    assert [answer["id"] for answer in answers] == list(range(200))
    assert {answer["inbound"]["verdict"] for answer in answers} == {"allow", "deny"}

    ended = ask(forge, "--batch", lines=[lines[0], {"id": "bad"}, lines[1]])
    answers = [json.loads(line) for line in ended.out.splitlines()]
    assert ended.code == 2
    assert [answer["id"] for answer in answers] == [0, "bad", 1]
    assert "line 2 of standard input" in ended.err and len(ended.err.splitlines()) == 1


def test_explain_answers_alike_by_the_published_file_and_by_its_sources(forge):
    """What was published is what was written; only the sources know where."""
    question = [{"direction": "outbound", "host": "reviews:9080"}, {"direction": "inbound"}]
    assert forge.run(*SYNC, "--once").code == 0
    by_sources = ask(forge, "--batch", lines=question)
    by_file = ask(forge, "--batch", "--policy", "run/policy.mesh", lines=question)
    assert '"file":"mesh/mesh.yaml","line":' in by_sources.out
    placeless = re.sub(r'"file":"[^"]*","line":[0-9]+', '"file":null,"line":null', by_sources.out)
    assert (by_file.code, by_file.out) == (by_sources.code, placeless)


@pytest.mark.parametrize(
    ("question", "part"),
    [
        ({"direction": "outbound", "host": "a:" + "9" * 5000}, "`host` names a port"),
        ({"direction": "outbound", "host": "a", "port": 65536}, "$.port"),
        ({"direction": "outbound", "host": "a", "port": -1}, "$.port"),
        ({"direction": "inbound", "source": {"ip": "10.0.0"}}, "`source.ip` is '10.0.0'"),
        ({"direction": "outbound", "host": "a", "ejected": ["b"]}, "`ejected` names 'b'"),
        ({"direction": "inbound", "hots": "a"}, "hots"),
        ({"direction": "sideways"}, "sideways"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value,
)
def test_a_question_that_makes_no_sense_is_not_answered(forge, question, part):
    """An answer to another question would be worse than none."""
    ended = ask(forge, lines=[question])
    assert (ended.code, ended.out) == (2, "")
    assert part in ended.err and len(ended.err.splitlines()) == 1
