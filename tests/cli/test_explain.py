"""`meshware explain`: what policy decides, asked of the objects that decide it."""

from __future__ import annotations

import io
import json
import time

import pytest
from user_world import ISSUER, authentication, rule, token

from meshware.cli.main import run
from meshware.policy.file import encode
from meshware.policy.load import load_text
from meshware.policy.records import build_records

POLICY = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9080, name: http, protocol: HTTP}]
  endpoints:
    - {address: 10.0.0.1, ports: {http: 9081}, labels: {version: v1}}
    - {address: 10.0.0.2, ports: {http: 9082}, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
    - {name: v1, labels: {version: v1}}
    - {name: v2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
    - name: testers
      match: [{headers: {end-user: {exact: jason}}}]
      route: [{destination: {host: reviews, subset: v2}}]
    - name: canary
      match: [{uri: {prefix: /reviews}}]
      route:
        - {destination: {host: reviews, subset: v1}, weight: 80}
        - {destination: {host: reviews, subset: v2}, weight: 20}
      timeout: 10s
      retries: {attempts: 2, perTryTimeout: 5s, retryOn: "5xx,409"}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: app}
spec:
  address: 10.0.0.9
  ports: {http: 8000}
  labels: {app: app}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed}
spec:
  selector: {matchLabels: {app: app}}
  action: DENY
  rules:
    - to: [{operation: {paths: ["/admin/*"]}}]
    - to: [{operation: {ports: ["9000"]}}]
    - when: [{key: destination.ip, notValues: ["10.0.0.9"]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: open}
spec:
  action: ALLOW
  rules:
    - to: [{operation: {methods: [GET]}}]
"""


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys):
    """Ask one question or many; return the exit code, the answers, and what was complained of."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")

    def ask(*questions, policy=policy, arguments=("--format", "json"), workload="default/app"):
        written = "\n".join(q if isinstance(q, str) else json.dumps(q) for q in questions)
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(written.encode())))
        code = run(["explain", "--policy", str(policy), "--workload", workload, *arguments])
        captured = capsys.readouterr()
        if "json" not in arguments and "--batch" not in arguments:
            return code, captured.out, captured.err
        return code, [json.loads(line) for line in captured.out.splitlines()], captured.err

    return ask


INBOUND = {"direction": "inbound", "host": "app", "source": {"ip": "10.0.0.1"}}


@pytest.mark.parametrize(
    ("question", "code", "expected"),
    [
        (
            {"path": "/x"},
            0,
            {"verdict": "allow", "status": 200, "policy": "default/open", "rule": 0},
        ),
        (
            {"path": "/x", "method": "POST"},
            1,
            {"verdict": "deny", "status": 403, "policy": None, "rule": None},
        ),
        (
            {"path": "/%61dmin/x?y=1"},
            1,
            {
                "verdict": "deny",
                "body": "RBAC: access denied",
                "policy": "default/closed",
                "rule": 0,
                "candidates": ["/admin/x"],
            },
        ),
        ({"path": "/x", "port": 9000}, 1, {"policy": "default/closed", "rule": 1}),
        ({"path": "x"}, 1, {"verdict": "bad_request", "status": 400}),
        (
            {"path": "/x", "source": {"principal": "cluster.local/ns/a/sa/b"}},
            0,
            {"principal": "cluster.local/ns/a/sa/b", "request_principal": None},
        ),
    ],
    ids=["allowed", "no rule allows", "denied by path", "port", "malformed", "principal"],
)
def test_an_inbound_question_is_answered_by_the_gate(ask, question, code, expected):
    """The verdict names the policy and the rule, and the paths that were decided on."""
    exit_code, [answer], _ = ask({"id": "q", **INBOUND, **question})
    assert answer["id"] == "q" and answer["outbound"] is None
    assert {name: answer["inbound"][name] for name in expected} == expected
    assert exit_code == code


@pytest.mark.parametrize(
    ("changed", "code", "expected"),
    [
        ({}, 0, {"verdict": "allow", "request_principal": f"{ISSUER}/alice"}),
        (
            {"iss": "x"},
            1,
            {
                "verdict": "unauthenticated",
                "status": 401,
                "body": "Jwt issuer is not configured",
                "request_principal": None,
                "reason": "jwt_authn_access_denied{Jwt_issuer_is_not_configured}",
            },
        ),
        ({"exp": 1}, 1, {"verdict": "unauthenticated", "body": "Jwt is expired"}),
        (
            {"aud": "them"},
            1,
            {"verdict": "deny", "status": 403, "policy": "default/users", "rule": 0},
        ),
    ],
    ids=["good", "another issuer", "expired", "another audience"],
)
def test_a_question_may_bear_a_token(ask, tmp_path, changed, code, expected):
    """It is verified as a call's would be, by the time of this machine."""
    policy = tmp_path / "users.yaml"
    users = json.dumps(authentication(rule(audiences=["us"])))
    policy.write_text(f"{POLICY}---\n{users}\n", encoding="utf-8")
    made = token(**{"aud": "us", "exp": time.time() + 60, **changed})
    headers = [["Authorization", f"Bearer {made}"]]
    exit_code, [answer], _ = ask({**INBOUND, "path": "/x", "headers": headers}, policy=policy)
    assert {name: answer["inbound"][name] for name in expected} == expected
    assert exit_code == code
    assert made not in json.dumps(answer)
    _, told, _ = ask({**INBOUND, "path": "/x", "headers": headers}, policy=policy, arguments=())
    assert ("on behalf of" in told) == (code == 0)


@pytest.mark.parametrize(
    ("question", "code", "expected"),
    [
        (
            {"host": "reviews", "port": 9080, "path": "/a", "headers": [["End-User", "jason"]]},
            0,
            {
                "route": "testers",
                "destination": "reviews.default.svc.cluster.local",
                "subset": "v2",
                "port": 9080,
                "endpoints": [{"address": "10.0.0.2", "port": 9082, "state": "healthy"}],
                "flag": "-",
            },
        ),
        (
            {"host": "reviews.default.svc:9080", "path": "/reviews/1"},
            0,
            {
                "route": "canary",
                "timeout_s": 10.0,
                "retries": {"attempts": 2, "per_try_timeout_s": 5.0, "on": ["5xx", "409"]},
            },
        ),
        ({"host": "reviews:9080", "path": "/a"}, 1, {"route": None, "flag": "NR", "status": 404}),
        (
            {"host": "example.com", "path": "/"},
            0,
            {"route": "allow_any", "destination": None, "endpoints": [], "flag": "-"},
        ),
    ],
    ids=["matched", "time-outs", "no route", "passed through"],
)
def test_an_outbound_question_is_answered_by_the_exchange(ask, question, code, expected):
    """Route, destination, endpoints, time-outs and flag are those of the first attempt."""
    exit_code, [answer], _ = ask({"direction": "outbound", **question})
    assert answer["inbound"] is None
    assert {name: answer["outbound"][name] for name in expected} == expected
    assert exit_code == code


def test_a_batch_answers_each_line_and_draws_by_weight(ask):
    """One line out for each line in, exit code 0 whatever the verdicts; 80 of 100 go to v1."""
    question = {"direction": "outbound", "host": "reviews:9080", "path": "/reviews/1"}
    refused = {"id": "last", **INBOUND, "path": "/admin/"}
    code, answers, _ = ask(
        *({"id": number, **question} for number in range(1000)), refused, arguments=("--batch",)
    )
    assert code == 0
    assert [answer["id"] for answer in answers] == [*range(1000), "last"]
    to_v1 = sum(answer["outbound"]["subset"] == "v1" for answer in answers[:-1])
    assert 740 <= to_v1 <= 860
    assert answers[-1]["inbound"]["status"] == 403


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "standard input is empty"),
        ("{", "Input data was truncated"),
        ("{}", "missing required field `direction`"),
        ('{"direction": "up"}', "Invalid enum value 'up'"),
        ('{"direction": "inbound", "pth": "/"}', "unknown field `pth`"),
        ('{"direction": "outbound"}', "needs `host`"),
    ],
    ids=["empty", "not JSON", "no direction", "direction", "unknown field", "no host"],
)
def test_a_question_that_cannot_be_read_is_one_sentence_and_2(ask, text, complaint):
    """Never a traceback, and never an answer to what was not asked."""
    code, answers, error = ask(text)
    assert (code, answers) == (2, [])
    assert complaint in error and error.count("\n") == 1


def test_a_batch_goes_on_behind_a_line_that_cannot_be_read(ask):
    """The line's answer says what is wrong with it, under its id; the exit code is 2."""
    code, answers, error = ask(
        {"id": 1, "direction": "sideways"}, {"id": 2, **INBOUND}, arguments=("--batch",)
    )
    assert code == 2
    assert answers[0]["id"] == 1 and "sideways" in answers[0]["error"]
    assert answers[1]["inbound"]["verdict"] == "allow"
    assert "line 1" in error


def test_an_unknown_workload_is_closed_and_said(ask):
    """As in the process itself: no inbound call gets in."""
    code, [answer], error = ask({**INBOUND, "path": "/"}, workload="default/other")
    assert code == 1 and answer["inbound"]["status"] == 503
    assert "no workload default/other" in error


def test_a_policy_file_is_asked_like_yaml(ask, tmp_path):
    """`--policy` takes what MESH_CONFIG takes."""
    records = build_records(load_text(POLICY).resources)
    path = tmp_path / "policy.mesh"
    path.write_bytes(encode(records, generation=7, trust_domain="cluster.local"))
    path.chmod(0o644)
    code, [answer], _ = ask({**INBOUND, "path": "/admin/"}, policy=path)
    assert code == 1 and answer["inbound"]["policy"] == "default/closed"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "no such file"), ("x: [", "this is not YAML"), ("kind: Nope\n", "apiVersion")],
    ids=["absent", "not YAML", "not policy"],
)
def test_policy_that_cannot_be_used_is_said_with_2(ask, tmp_path, content, complaint):
    """No answer is better than one by other policy."""
    path = tmp_path / "other.yaml"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    code, answers, error = ask({**INBOUND}, policy=path)
    assert (code, answers) == (2, [])
    assert complaint in error and "Traceback" not in error


def test_people_read_sentences(ask):
    """The text form names route, time-out, retries and endpoints."""
    question = {"direction": "outbound", "host": "reviews:9080", "path": "/reviews/1"}
    code, out, _ = ask(question, arguments=())
    assert code == 0
    assert "route canary to reviews.default.svc.cluster.local:9080" in out
    assert "time-out: 10 s" in out and "retries: 2, 5 s each" in out
    code, out, _ = ask({**INBOUND, "path": "/admin/"}, arguments=())
    assert code == 1 and "deny, status 403, by default/closed, rule 0" in out


def test_it_says_which_retries_would_not_happen(ask):
    """A POST that nobody declared safe is sent again only while nothing of it went out."""
    question = {"direction": "outbound", "host": "reviews:9080", "path": "/reviews/1"}
    _, [got, posted], _ = ask(question, {**question, "method": "POST"}, arguments=("--batch",))
    assert got["outbound"]["safe_to_repeat"] is True
    assert posted["outbound"]["safe_to_repeat"] is False
    _, out, _ = ask({**question, "method": "POST"}, arguments=())
    assert "not safe to repeat: only while no byte was sent" in out


def test_it_says_that_allow_policies_shut_the_door(ask):
    """No rule decided, and that is the reason."""
    _, out, _ = ask({**INBOUND, "path": "/x", "method": "POST"}, arguments=())
    assert "by no rule: no ALLOW policy has a rule that takes it: default/" in out


def test_faults_and_answers_of_policy_are_told(ask, tmp_path):
    """A delay is passed over: what comes behind it is the answer."""
    rule = "fault: {delay: {fixedDelay: 9s, percentage: {value: 100}}, abort: {httpStatus: 418, percentage: {value: 100}}}"  # noqa: E501
    policy = tmp_path / "faults.yaml"
    policy.write_text(POLICY.replace("      timeout: 10s\n", f"      {rule}\n"), encoding="utf-8")
    question = {"direction": "outbound", "host": "reviews:9080", "path": "/reviews/1"}
    code, [answer], _ = ask(question, policy=policy)
    assert (code, answer["outbound"]["status"], answer["outbound"]["flag"]) == (1, 418, "DI,FI")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"direction": "sideways"}, 'write "inbound" or "outbound"'),
        ({"pth": "/x"}, "there are direction, ejected, handlers, headers"),
        ({"source": {"name": "x"}}, "there are ip, labels, namespace, principal"),
        ({"handlers": [{"rout": "/"}]}, "there are function, mount, operation_id, route"),
    ],
    ids=["a direction", "a field", "a field of the source", "a field of a handler"],
)
def test_a_question_that_cannot_be_read_says_what_may_stand_there(ask, changed, words):
    """And not only what may not."""
    exit_code, _, err = ask({**INBOUND, **changed}, arguments=())
    assert exit_code == 2
    assert words in err
