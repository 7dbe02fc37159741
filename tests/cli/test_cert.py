"""`meshware cert`: what it prints, and its exit codes."""

from __future__ import annotations

import json

import pytest
from ca_world import TRUST_DOMAIN, mesh_policy, mode_of

from meshware.cli.main import run

ID = f"spiffe://{TRUST_DOMAIN}/ns/default/sa/tool"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A place where a daemon has been."""
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh" / "mesh.yaml").write_text(mesh_policy("web"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    words = ["sync", "--source", "mesh", "--run-dir", "run", "--state-dir", "state", "--once"]
    assert run(words) == 0
    return tmp_path


@pytest.fixture
def cert(capsys):
    """Run a command; return its exit code, what it printed, and what it complained about."""

    def cert(*words):
        capsys.readouterr()
        code = run(["cert", *words])
        captured = capsys.readouterr()
        assert "PRIVATE" not in captured.out + captured.err
        return code, captured.out, captured.err

    return cert


def test_show_tells_the_authority_and_what_is_published(place, cert):
    """The state directory is the one that the daemon used, unless another is named."""
    code, out, _ = cert("show", "--run-dir", "run", "--format", "json")
    assert code == 0
    said = json.loads(out)
    [authority] = said["authorities"]
    assert authority["trust_domain"] == TRUST_DOMAIN
    [root] = authority["roots"]
    [intermediate] = authority["intermediates"]
    assert (root["state"], intermediate["state"]) == ("issues", "issues")
    published = said["bundles"][TRUST_DOMAIN]
    assert published["roots"][0]["fingerprint"] == root["fingerprint"]
    assert said["change"] is None
    code, out, _ = cert("show", "--run-dir", "run")
    assert code == 0
    assert root["fingerprint"] in out
    assert root["until"] in out


def test_show_says_where_no_authority_is(place, cert):
    """That is a finding, and no error."""
    code, out, _ = cert("show", "--run-dir", "run", "--state-dir", "elsewhere")
    assert code == 1
    assert "no authority in" in out
    assert not (place / "elsewhere").exists()


def test_show_changes_nothing_of_an_authority_that_a_daemon_is_just_writing(place, cert):
    """A root that was made and is not kept yet is the daemon's own affair."""
    [state] = (place / "state").rglob("state.json")
    (state.parent / "2").mkdir()
    cert("show", "--run-dir", "run")
    cert("issue", ID, "--run-dir", "run", "--out", "out")
    assert (state.parent / "2").is_dir()


def test_list_tells_whose_each_identity_is_and_until_when(place, cert):
    """And which cannot be used, with why."""
    code, out, _ = cert("list", "--run-dir", "run", "--format", "json")
    assert code == 0
    [web] = json.loads(out)
    assert web["id"] == f"spiffe://{TRUST_DOMAIN}/ns/default/sa/web"
    assert (web["service_account"], web["state"]) == ("default/web", "good")

    svid = place / "run" / "identity" / "default" / "web" / "svid.pem"
    svid.chmod(0o644)
    code, out, _ = cert("list", "--run-dir", "run")
    assert code == 1
    assert "cannot be used: svid.pem holds a key that others may read" in out
    svid.unlink()
    code, out, _ = cert("list", "--run-dir", "run")
    assert (code, "absent" in out) == (1, True)
    assert cert("list", "--run-dir", "mesh")[:2] == (0, "no identities\n")


def test_issue_writes_one_identity(place, cert):
    """As the daemon does; of the daemon's authority, or of one in a directory."""
    words = ["issue", ID, "--out", "out", "--life", "90s", "--format", "json"]
    code, out, _ = cert(*words, "--run-dir", "run")
    assert code == 0
    assert json.loads(out)["id"] == ID
    assert mode_of(place / "out" / "svid.pem") == 0o600
    assert mode_of(place / "out") == 0o700

    code, _, said = cert("issue", ID, "--out", "long", "--life", "30d", "--run-dir", "run")
    assert code == 0
    assert "a change of root does not wait for it" in said


def test_a_root_and_two_nodes_below_it(place, cert):
    """Everything that several machines need, and a second root is not made over the first."""
    words = ["init-root", "--dir", "root", "--trust-domain", TRUST_DOMAIN]
    code, out, _ = cert(*words, "--format", "json")
    assert code == 0
    assert json.loads(out)["name"] == "root"
    code, _, err = cert(*words)
    assert (code, "already" in err) == (2, True)
    for node in ("a", "b"):
        words = ["issue-intermediate", "--root-dir", "root", "--node", node, "--out", node]
        code, out, _ = cert(*words)
        assert code == 0
        assert f"made the authority of node {node} until" in out
    code, out, _ = cert("show", "--ca-dir", "a", "--format", "json")
    assert code == 0
    assert json.loads(out)["authorities"][0]["intermediates"][0]["name"] == "node a"
    assert cert("issue", ID, "--ca-dir", "b", "--out", "out")[0] == 0
    words = ["sync", "--source", "mesh", "--run-dir", "run-b", "--state-dir", "state", "--once"]
    assert run([*words, "--ca-dir", "b"]) == 0
    assert cert("list", "--run-dir", "run-b")[0] == 0
    assert not list((place / "state").rglob("run-b-*/ca"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["show"], "name what to look at: --run-dir of a daemon, or --ca-dir"),
        (["show", "--run-dir", "nope"], "nope is not a directory"),
        (["show", "--ca-dir", "nope"], "nope/intermediate.pem: no such file or directory"),
        (["list", "--run-dir", "nope"], "nope is not a directory"),
        (["issue", ID, "--out", "out"], "name who issues: --run-dir of a daemon, or --ca-dir"),
        (["issue", "web", "--out", "out", "--run-dir", "run"], "this is no SPIFFE ID"),
        (
            ["issue", "spiffe://b.test/ns/a/sa/b", "--out", "out", "--run-dir", "run"],
            "there is no authority of b.test",
        ),
        (
            ["issue", ID, "--out", "out", "--run-dir", "run", "--life", "soon"],
            "--life: 'soon' is no length of time; write 90s or 1h",
        ),
        (["init-root", "--dir", "r", "--trust-domain", "A b"], "needs a trust domain"),
        (
            ["issue-intermediate", "--root-dir", "nope", "--node", "a", "--out", "o"],
            "there is no root in nope: make one by `meshware cert init-root`",
        ),
        (
            ["issue-intermediate", "--root-dir", "nope", "--node", "../a", "--out", "o"],
            "--node: write letters",
        ),
        (["rotate-root", "--run-dir", "run"], "no daemon runs on run: start `meshware sync`"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_and_2(place, cert, words, says):
    """Nothing is made by a command that could not do its work."""
    code, out, err = cert(*words)
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert says in line
    assert not any((place / name).exists() for name in ("out", "r", "o"))


@pytest.mark.parametrize(
    "name", ["show", "list", "issue", "rotate-root", "init-root", "issue-intermediate"]
)
def test_every_command_has_help_and_a_format(cert, name):
    """`--format text|json`, as everywhere."""
    code, out, _ = cert(name, "--help")
    assert code == 0
    assert "--format [text|json]" in out
