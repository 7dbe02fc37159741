"""From text to resources: every problem with its resource, field, line and remedy."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshware.policy.document.virtual_service import VirtualServiceSpec
from meshware.policy.parse import MAX_PROBLEMS, parse_mapping, parse_text
from meshware.policy.problems import Severity
from meshware.policy.yaml12 import MAX_BYTES

HEAD = "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
GOOD = f"{HEAD}metadata: {{name: shop, namespace: front}}\nspec: {{hosts: [shop]}}\n"


def only(text):
    """Return the one problem of a text."""
    _, problems = parse_text(text, "mesh.yaml")
    [problem] = problems
    return problem


def resource(text):
    """Return the one resource of a text, which must have no problem."""
    resources, problems = parse_text(text, "mesh.yaml")
    assert problems == []
    [found] = resources
    return found


def test_a_resource_is_what_was_written_and_where():
    """Kind, group, names, labels and a typed spec, with the line of every field."""
    found = resource(
        "# a remark\n"
        f"{HEAD}"
        "metadata:\n"
        "  name: shop\n"
        "  labels: {app: shop}\n"
        "  annotations: {team: a}\n"
        "  creationTimestamp: 2024-01-01T00:00:00Z\n"
        "spec:\n"
        "  hosts: [shop]\n"
        "  http:\n"
        "    - route:\n"
        "        - destination: {host: shop}\n"
        "      timeout: 1m30s\n"
    )
    assert (found.kind, found.group) == ("VirtualService", "networking.istio.io")
    assert (found.namespace, found.name) == ("default", "shop")
    assert found.key == "VirtualService/default/shop"
    assert (dict(found.labels), dict(found.annotations)) == ({"app": "shop"}, {"team": "a"})
    assert found.created == "2024-01-01T00:00:00Z"
    assert isinstance(found.spec, VirtualServiceSpec)
    assert found.spec.http[0].timeout == 90.0
    assert (found.origin.file, found.origin.line) == ("mesh.yaml", 2)
    assert found.line_of("spec.http[0].timeout") == 14
    assert found.line_of("spec.http[0].retries.attempts") == 12
    assert found.line_of("nowhere") == 2


def test_several_documents_and_lists_are_all_read():
    """Documents in a row, a List, a List within a List."""
    item = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "a"},
        "spec": {"hosts": ["a"]},
    }
    inner = {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [item]}
    text = f"{GOOD}---\n{json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': [inner, item]})}"
    resources, problems = parse_text(text)
    assert problems == []
    assert [found.name for found in resources] == ["shop", "a", "a"]


def test_json_is_read_like_yaml():
    """A file of a program is as good as one of a person."""
    text = json.dumps(
        {
            "apiVersion": "networking.istio.io/v1beta1",
            "kind": "VirtualService",
            "metadata": {"name": "shop"},
            "spec": {"hosts": ["shop"]},
        },
        indent=2,
    )
    assert resource(text).line_of("spec.hosts") == 8


@pytest.mark.parametrize(
    ("text", "code", "field", "line", "words"),
    [
        ("- a\n- b\n", "IST0106", None, 1, "not a resource"),
        ("just text\n", "IST0106", None, 1, "not a resource"),
        ("kind: VirtualService\n", "IST0106", "apiVersion", 1, "apiVersion is missing"),
        (GOOD.replace("kind: VirtualService\n", ""), "IST0106", "kind", 1, "kind is missing"),
        (GOOD.replace("name: shop, ", ""), "IST0106", "metadata.name", 3, "name is missing"),
        (f"{HEAD}spec: {{hosts: [a]}}\n", "IST0106", "metadata.name", 1, "name is missing"),
        (f"{HEAD}metadata: x\nspec: {{hosts: [a]}}\n", "IST0106", "metadata.name", 1, "missing"),
        (GOOD.replace("shop,", "Shop,"), "IST0106", "metadata.name", 3, "lower-case"),
        (GOOD.replace("shop,", "-a,"), "IST0106", "metadata.name", 3, "lower-case"),
        (GOOD.replace("shop,", "a_b,"), "IST0106", "metadata.name", 3, "lower-case"),
        (GOOD.replace("shop,", "12,"), "IST0106", "metadata.name", 3, "numbers in quotes"),
        (GOOD.replace("shop,", "a/b,"), "IST0106", "metadata.name", 3, "lower-case"),
        (GOOD.replace("shop,", "a..b,"), "IST0106", "metadata.name", 3, "lower-case"),
        (GOOD.replace("shop,", f"{'a' * 254},"), "IST0106", "metadata.name", 3, "253"),
        (GOOD.replace("front", "a.b"), "IST0106", "metadata.namespace", 3, "lower-case"),
        (GOOD.replace("front", "b" * 64), "IST0106", "metadata.namespace", 3, "63"),
        (GOOD.replace("front", "''"), "IST0106", "metadata.namespace", 3, "lower-case"),
        (GOOD.replace("front", "no\n"), None, None, None, None),
        (GOOD + "extra: 1\n", "unknown-field", "extra", 5, "no field 'extra'"),
        (GOOD + "Spec: {}\n", "unknown-field", "Spec", 5, "did you mean 'spec'"),
        (
            GOOD.replace("front", "front, lables: {}"),
            "unknown-field",
            "metadata.lables",
            3,
            "did you mean 'labels'",
        ),
        (
            GOOD.replace("front", "front, labels: {app: 1}"),
            "IST0106",
            "metadata.labels[app]",
            3,
            "quote it",
        ),
        (
            GOOD.replace("front", "front, labels: [a]"),
            "IST0106",
            "metadata.labels",
            3,
            "write a mapping",
        ),
        (GOOD.replace("{hosts: [shop]}", "[a]"), "IST0106", "spec", 4, "a mapping of fields"),
        (GOOD.replace("hosts:", "hots:"), "unknown-field", "spec.hots", 4, "did you mean 'hosts'"),
        (GOOD.replace("[shop]", "[shop, 012]"), "yaml-syntax", "spec.hosts[1]", 4, "leading zero"),
        (GOOD.replace("/v1\n", "/v7\n"), "unknown-kind", "apiVersion", 1, "no version 'v7'"),
        (f"{HEAD}items: 1\n".replace("VirtualService", "List"), "IST0106", "items", 3, "a list"),
    ],
)
def test_what_is_wrong_with_a_resource_is_told_with_its_place(text, code, field, line, words):
    """Code, field, line, and words that say what to do."""
    if code is None:
        assert resource(text).namespace == "no"
        return
    problem = only(text)
    assert (problem.code, problem.field, problem.line) == (code, field, line)
    assert problem.severity is Severity.ERROR
    assert words in problem.message


def test_all_problems_of_a_resource_are_told_and_it_is_left_out():
    """The author mends them in one go; nothing half-read is used."""
    resources, problems = parse_text(
        f"{HEAD}"
        "metadata: {name: A, colour: red}\n"
        "spec:\n"
        "  hosts: shop\n"
        "  http:\n"
        "    - timeout: 5\n"
        "      retries: {attempts: many, retryOn: [5xx]}\n"
        "      timeout: 6s\n"
    )
    assert [found for found in resources if found.is_whole] == []
    assert {problem.field for problem in problems} == {
        "metadata.name",
        "metadata.colour",
        "spec.hosts",
        "spec.http[0].timeout",
        "spec.http[0].retries.attempts",
        "spec.http[0].retries.retryOn",
    }
    assert sorted(problem.line for problem in problems) == [3, 3, 5, 7, 8, 8, 9]


def test_a_problem_with_the_text_names_the_resource_it_is_in():
    """A key that is there twice is somebody's, unless it is that of a list."""
    twice = GOOD.replace("[shop]", "[shop], hosts: [b]")
    problem = only(f"{GOOD}---\n{twice}")
    assert (problem.kind, problem.namespace, problem.name) == ("VirtualService", "front", "shop")
    assert (problem.field, problem.line) == ("spec.hosts", 9)
    listed = GOOD.replace("\n", "\n  ").replace("hosts:", "hosts: [c], hosts:")
    problem = only("kind: List\nitems:\n- " + listed)
    assert (problem.kind, problem.name, problem.field) == (None, None, "items[0].spec.hosts")


def test_one_broken_document_does_not_hide_those_behind_it():
    """All problems at once: the next document begins at its `---`, whatever is open before it."""
    broken = "kind: {a: b\n"
    typo = GOOD.replace("hosts:", "hots:")
    resources, problems = parse_text(f"{GOOD}---\n{broken}---\n{typo}---\n'\n---\n{GOOD}")
    assert [found.name for found in resources if found.is_whole] == ["shop", "shop"]
    lines = GOOD.count("\n")
    assert [(problem.code, problem.line) for problem in problems] == [
        ("yaml-syntax", lines + 2),  # not in the next document, where the parser gave up
        ("unknown-field", problems[1].line),
        ("yaml-syntax", 2 * lines + 5),
    ]
    assert problems[1].name == "shop"


def test_a_broken_document_that_is_the_last_is_told_where_it_breaks():
    """Nothing of the documents before it moves the place."""
    _, problems = parse_text(f"{GOOD}---\n{GOOD}---\na: b\nc: : d\n")
    assert [problem.line for problem in problems] == [2 * GOOD.count("\n") + 4]


def test_many_broken_documents_are_not_read_for_ever():
    """What follows is read again after each of them, so their number has a limit."""
    _, problems = parse_text("---\n{\n" * 1000)
    assert 10 < len(problems) < 50


def test_what_a_refused_resource_declares_can_be_referred_to():
    """One mistake is told once, and not again of each resource that counts on this one."""
    from meshware.policy.load import load_text

    loaded = load_text("""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9080, name: http, protocol: HTTP}]
  endpoints: [{address: 10.0.0.1, netwrk: there}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets: [{name: v1, labels: {version: 1}}, {name: v2, labels: {app: reviews}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v2}}]}]}
""")
    assert [problem.field for problem in loaded.problems] == [
        "spec.endpoints[0].netwrk",
        "spec.subsets[0].labels[version]",
    ]
    assert [resource.kind for resource in loaded.resources] == ["VirtualService"]


def test_what_comes_before_broken_text_is_kept():
    """One broken document does not make the others' problems go away."""
    resources, problems = parse_text(f"{GOOD}---\n{GOOD}oops: [\n")
    assert [found.name for found in resources] == ["shop"]
    assert [(problem.code, problem.kind) for problem in problems] == [("yaml-syntax", None)]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n---\n", b"", "kind: List\nitems: []\n"])
def test_a_text_without_resources_is_an_error(text):
    """A file that was emptied by accident must not take all policy away."""
    problem = only(text)
    assert (problem.code, problem.line, problem.kind) == ("empty", 1, None)
    assert "empty" in problem.message


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        (b" " * (MAX_BYTES + 1), "size", "size"),
        ("[" * 100, "depth", "depth"),
        ("a: &a [1]\nb: [" + "*a, " * 10_000 + "]", "alias", "alias"),
        (GOOD.encode("utf-16"), "encoding", "encoding"),
        (b"a: \xff", "encoding", "encoding"),
    ],
    ids=["size", "depth", "alias", "utf-16", "bytes"],
)
def test_a_limit_is_named(text, code, word):
    """The code and the message both say which limit was met."""
    problem = only(text)
    assert problem.code == code
    assert word in problem.message
    assert (problem.kind, problem.name, problem.namespace) == (None, None, "default")


@pytest.mark.parametrize(
    "text",
    ["---\n{}\n" * (MAX_PROBLEMS + 5), "- !a b\n" * (MAX_PROBLEMS + 5)],
    ids=["resources", "tags"],
)
def test_problems_beyond_counting_end_the_reading(text):
    """Hostile text has millions; the last problem says that there are more."""
    _, problems = parse_text(text)
    assert MAX_PROBLEMS < len(problems) < MAX_PROBLEMS + 3
    assert problems[-1].code == "size"
    assert str(MAX_PROBLEMS) in problems[-1].message


@pytest.mark.parametrize("spec", ["", "spec:\n", "spec: {}\n"], ids=["absent", "null", "empty"])
def test_an_absent_spec_is_an_empty_one(spec):
    """Kinds whose fields are all optional need none."""
    head = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\n"
    assert resource(head + spec).spec.rules is None


def test_what_a_cluster_adds_is_no_matter():
    """The output of `kubectl get -o yaml` is policy as it stands."""
    found = resource(
        f"{HEAD}"
        "metadata:\n"
        "  name: shop\n"
        "  generation: 3\n"
        '  resourceVersion: "12"\n'
        "  uid: 0\n"
        "  managedFields: [{manager: kubectl}]\n"
        "  finalizers: []\n"
        "  ownerReferences: []\n"
        "spec: {hosts: [shop]}\n"
        "status: {anything: true}\n"
    )
    assert found.name == "shop"


def test_a_mapping_is_read_like_its_text():
    """Tests hand over mappings; the same rules hold."""
    mapping = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "shop"},
        "spec": {"hosts": ["shop"], "http": [{"timeout": 5}]},
    }
    resources, problems = parse_mapping(mapping, "<mapping>")
    assert [found for found in resources if found.is_whole] == []
    assert [(found.field, found.file) for found in problems] == [
        ("spec.http[0].timeout", "<mapping>")
    ]
    _, problems = parse_mapping({"kind": object()})
    assert [found.code for found in problems] == ["yaml-syntax"]


# --- properties -------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *"[]{},:-?&*!|>'\"%@`#~ \t\n\r.0aé",
        "\n  ",
        ": ",
        "- ",
        "---\n",
        "&a ",
        "*a",
        "<<: ",
        "!!str ",
        "kind: ",
        "List",
        "items: ",
        "metadata: ",
        "name: ",
        "spec: ",
        "\ufeff",
        "\ud800",
        "\0",
        "\u2028",
        "012",
        HEAD,
        GOOD,
        "metadata: {name: a}\n",
        "  http:\n    - route: ",
        "timeout: ",
    ]
)


def check(text):
    """Parse; every problem must have a place."""
    resources, problems = parse_text(text, "mesh.yaml")
    assert resources or problems
    for problem in problems:
        assert problem.line >= 1
        assert problem.file == "mesh.yaml"
        assert problem.namespace
        assert problem.message
        assert len(problem.message) < 2500


@pytest.mark.hypothesis
@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_fail(data):
    """Whatever lies in a file, the answer is resources or problems with a place."""
    check(data)


@pytest.mark.hypothesis
@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=40).map("".join)))
def test_no_text_makes_the_parser_fail(text):
    """Nor does any text, least of all one that looks like policy."""
    check(text)


# What JSON, YAML and Python hold alike.
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**35), 2**35),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text("ab-.*/{0 é日", max_size=8),
        st.sampled_from(["5s", "a.b", "*", "", "GET"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["hosts", "http", "match", "route", "uri", "exact", "x", "rules"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=20,
)


@pytest.mark.hypothesis
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "apiVersion": st.one_of(
                VALUES, st.sampled_from(["networking.istio.io/v1", "security.istio.io/v1"])
            ),
            "kind": st.one_of(
                VALUES, st.sampled_from(["VirtualService", "AuthorizationPolicy", "List"])
            ),
            "metadata": st.one_of(VALUES, st.just({"name": "a"})),
            "spec": VALUES,
            "items": VALUES,
        },
    )
)
def test_a_mapping_and_its_json_are_the_same(mapping):
    """The two ways in give the same resources and the same problems."""
    _, of_text = parse_text(json.dumps(mapping, ensure_ascii=False), "f")
    _, of_mapping = parse_mapping(mapping, "f")
    assert [(p.code, p.field) for p in of_text] == [(p.code, p.field) for p in of_mapping]


def test_of_two_spellings_of_a_field_the_usual_one_is_proposed():
    """`jwks_uri` is read too, since old policies have it."""
    text = """\
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users}
spec: {jwtRules: [{issuer: "https://x.example", jwksURI: "https://x.example/keys"}]}
"""
    _, [problem] = parse_text(text, "users.yaml")
    assert "did you mean 'jwksUri'" in problem.message
