"""`meshware check`: every problem at once, for people and for programs."""

from __future__ import annotations

import json
import os

import pytest

from meshware.cli.main import run

GOOD = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop}
spec:
  hosts: [shop.example.com]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.0.0.1}]
"""
WARNED = """\
apiVersion: networking.istio.io/v1
kind: EnvoyFilter
metadata: {name: tune, namespace: shop}
spec: {}
"""
WRONG = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: front}
spec:
  hosts: [shop.example.com]
  http:
    - timeout: soon
      retires: {}
      route: [{destination: {host: shop.example.com}}]
"""


@pytest.fixture
def policy(tmp_path):
    """Write policy files by name."""

    def write(**texts: str) -> str:
        for name, text in texts.items():
            (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        return str(tmp_path)

    return write


def found(arguments, capsys):
    """Run `check` for programs; return its exit code and what it printed."""
    code = run(["check", *arguments, "--format", "json"])
    return code, json.loads(capsys.readouterr().out)


def test_good_policy_is_one_line_and_0(policy, capsys):
    """Nothing to mend is said in so many words."""
    assert run(["check", policy(good=GOOD)]) == 0
    assert capsys.readouterr().out == "1 resource read: no problems found\n"


def test_good_policy_is_an_empty_list_for_programs(policy, capsys):
    """A program that reads a list always gets one."""
    assert found([policy(good=GOOD)], capsys) == (0, [])


def test_every_problem_of_every_file_is_told_at_once(policy, capsys):
    """One run finds all: two mistakes in one resource and one in another file."""
    path = policy(wrong=WRONG, broken="kind: [", good=GOOD)
    code, problems = found([path], capsys)
    assert code == 1
    assert [(os.path.basename(p["file"]), p["field"]) for p in problems] == [
        ("broken.yaml", None),
        ("wrong.yaml", "spec.http[0].timeout"),
        ("wrong.yaml", "spec.http[0].retires"),
    ]


def test_a_problem_has_the_fields_of_the_contract(policy, capsys):
    """Programs find the kind, the name, the full path of the field, the file and the line."""
    path = policy(wrong=WRONG)
    _, problems = found([path], capsys)
    problem = problems[1]
    assert list(problem) == [
        "severity",
        "code",
        "kind",
        "namespace",
        "name",
        "field",
        "file",
        "line",
        "message",
    ]
    assert problem["severity"] == "error"
    assert problem["code"] == "unknown-field"
    assert (problem["kind"], problem["namespace"], problem["name"]) == (
        "VirtualService",
        "front",
        "shop",
    )
    assert problem["file"] == os.path.join(path, "wrong.yaml")
    assert problem["line"] == 8
    assert "'retries'" in problem["message"]


def test_a_text_too_broken_for_a_resource_has_no_kind_and_no_name(policy, capsys):
    """What is no resource is nobody's, and still has a file, a line and a namespace."""
    _, problems = found([policy(broken="kind: [")], capsys)
    assert [(p["kind"], p["name"], p["namespace"], p["line"]) for p in problems] == [
        (None, None, "default", 1)
    ]


def test_a_problem_is_one_line_for_people(policy, capsys):
    """The place comes first, so that editors jump to it; the code is last."""
    path = policy(wrong=WRONG)
    assert run(["check", path]) == 1
    first, second, last = capsys.readouterr().out.splitlines()
    place = os.path.join(path, "wrong.yaml")
    assert first.startswith(
        f"{place}:7: error: VirtualService/front/shop: spec.http[0].timeout: timeout is "
    )
    assert first.endswith(" [IST0106]")
    assert second.endswith(" [unknown-field]")
    assert last == "0 resources read: 2 errors"


@pytest.mark.parametrize(
    ("options", "code"), [([], 0), (["--strict"], 1)], ids=["lenient", "strict"]
)
def test_a_warning_fails_only_a_strict_check(options, code, policy, capsys):
    """What is skipped harms nobody, unless somebody asks for no warnings at all."""
    assert run(["check", policy(warned=WARNED), *options]) == code
    out = capsys.readouterr().out
    assert "warning: EnvoyFilter/shop/tune" in out
    assert out.endswith("0 resources read: 1 warning\n")


def test_all_paths_are_one_policy(policy, capsys):
    """What stands in two files is read together, whichever way the files are named."""
    path = policy(good=GOOD, wrong=WRONG)
    code, problems = found([f"{path}/good.yaml", f"{path}/wrong.yaml"], capsys)
    assert code == 1
    assert len(problems) == 2
    assert {problem["file"] for problem in problems} == {f"{path}/wrong.yaml"}


def test_a_directory_without_policy_is_an_error(tmp_path, capsys):
    """A check that looked at nothing must not say that all is fine."""
    code, problems = found([str(tmp_path)], capsys)
    assert code == 1
    assert [problem["code"] for problem in problems] == ["empty"]


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_missing_path_is_one_sentence_and_2(output, policy, tmp_path, capsys):
    """A slip on the command line is no finding about policy, even beside good policy."""
    missing = str(tmp_path / "nowhere")
    assert run(["check", policy(good=GOOD), missing, "--format", output]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"meshware: {missing}: cannot be read: ")
    assert captured.err.count("\n") == 1


def test_an_unreadable_path_is_one_sentence_and_2(policy, tmp_path, capsys):
    """So is a file that cannot be opened, here one that points nowhere."""
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "away.yaml")
    assert run(["check", policy(good=GOOD)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"meshware: {tmp_path / 'gone.yaml'}: cannot be read: ")


def test_no_path_is_a_usage_error(capsys):
    """`meshware check` alone does not guess."""
    assert run(["check"]) == 2
    assert capsys.readouterr().err == (
        "meshware check: missing argument 'PATH...' (see meshware check --help)\n"
    )


def test_what_policy_says_cannot_steer_a_terminal(policy, capsys):
    """A problem stays one printable line, whatever the names in it."""
    path = policy(odd=GOOD + '"\\e[2J\\nfine": 1\n')
    assert run(["check", path]) == 1
    out = capsys.readouterr().out
    assert ": \\x1b[2J\\nfine: " in out
    assert out.count("\n") == 2


def test_files_that_are_not_here_are_a_warning(policy, tmp_path, capsys):
    """They are the clients', which may run elsewhere; `--strict` wants them here too."""
    there = tmp_path / "ca.pem"
    there.write_text("whatever", encoding="utf-8")
    rule = f"""\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: shop}}
spec:
  host: shop.example.com
  trafficPolicy:
    tls:
      mode: MUTUAL
      caCertificates: {there}
      clientCertificate: {tmp_path}/none.pem
      privateKey: {tmp_path}
"""
    path = policy(good=GOOD, rule=rule)
    code, problems = found([path], capsys)
    assert code == 0
    seen = [(p["severity"], p["code"], p["field"], p["line"]) for p in problems]
    prefix = "spec.trafficPolicy.tls"
    assert seen == [
        ("warning", "file-not-seen", f"{prefix}.clientCertificate", 10),
        ("warning", "file-not-seen", f"{prefix}.privateKey", 11),
    ]
    assert "does not exist here" in problems[0]["message"]
    assert "is not a file here" in problems[1]["message"]
    assert found([path, "--strict"], capsys)[0] == 1
