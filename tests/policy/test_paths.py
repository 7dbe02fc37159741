"""Path normalisation: Istio's own pairs, and the candidates of hostile requests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshware.policy.paths import candidates, encoded, normalise, written

PAIRS = (
    Path(__file__).resolve().parents[2]
    / ".."
    / "shared/conformance/istio/decisions/path-normalization.json"
)


def test_istios_own_pairs_come_out_as_istio_has_them() -> None:
    """Every pair of Istio's normalisation test holds in every mode."""
    if not PAIRS.exists():
        pytest.skip("Istio's expectations are not beside this checkout")
    wrong = []
    count = 0
    for group in json.loads(PAIRS.read_text())["sets"]:
        for case in group["cases"]:
            path, question, query = case["in"].partition("?")
            found = normalise(path, group["normalization"])
            got = "400" if found is None else found + question + query.partition("#")[0]
            count += 1
            if got != case["out"]:
                wrong.append((group["normalization"], case, got))
    assert not wrong
    assert count > 300


@pytest.mark.parametrize(
    ("target", "app_path", "expected"),
    [
        ("/reviews/1", "/reviews/1", {"/reviews/1"}),
        ("/", "/", {"/"}),
        ("/a%2fb", "/a/b", {"/a/b"}),
        ("//admin", "//admin", {"/admin", "//admin"}),
        ("/admin/../public/x", "/admin/../public/x", {"/public/x", "/admin/../public/x"}),
        ("//admin/../x", "//admin/../x", {"/x", "//admin/../x", "/admin/../x"}),
        ("/a//../b", "/a//../b", {"/a/b", "/a//../b", "/a/../b", "/b"}),
        ("/admin%2f..%2fpublic", "/admin/../public", {"/public", "/admin/../public"}),
        ("/%61dmin", "/admin", {"/admin"}),
        ("/admin%5c..%5cx", "/admin\\..\\x", {"/x", "/admin\\..\\x", "/admin/../x"}),
        ("/a%40b", "/a@b", {"/a%40b", "/a@b"}),
        ("/caf%c3%a9", "/caf\xe9", {"/caf%C3%A9"}),
        ("/x%20y", "/x y", {"/x%20y"}),
        (None, "/admin/./x", {"/admin/x", "/admin/./x"}),
        ("/adm%FFin", "/adm\ufffdin", {"/adm%FFin", "/adm%EF%BF%BDin"}),
        ("/%252e%252e/x", "/%2e%2e/x", {"/%252e%252e/x"}),
        ("/a|b", "/a|b", {"/a%7Cb"}),
        ("/a%", "/a%", {"/a%25"}),
        ("/a%zz%2", "/a%zz%2", {"/a%25zz%252"}),
        ("/caf\xc3\xa9", "/caf\xe9", {"/caf%C3%A9"}),
    ],
)
def test_every_path_that_a_request_may_mean_is_a_candidate(
    target: str | None, app_path: str, expected: set[str]
) -> None:
    """What the client wrote and what the app will see both count."""
    found = candidates(target, (app_path,), "DECODE_AND_MERGE_SLASHES")
    assert found is not None
    assert set(found) == expected


@pytest.mark.parametrize(
    ("value", "compared"),
    [
        ("/caf%c3%a9/*", "/caf%C3%A9/*"),
        ("/caf\xe9", "/caf%C3%A9"),
        ("/a[1]", "/a%5B1%5D"),
        ('/a"|', "/a%22%7C"),
        ("/a?b#c", "/a?b#c"),
        ("/a@b:c", "/a@b:c"),
    ],
)
def test_a_path_of_a_policy_is_compared_as_those_of_requests_are(value: str, compared: str) -> None:
    """Whether a client escaped what it should have makes no difference to a DENY rule."""
    assert written(value) == compared


def test_an_escaped_nul_is_refused() -> None:
    """Istio answers 400 to %00."""
    assert candidates("/a%00", ("/a\x00",), "BASE") is None


def test_bytes_that_are_no_text_are_encoded_as_they_were() -> None:
    """WSGI servers hand over bytes; those that are no UTF-8 survive."""
    assert encoded(b"/\xff".decode("utf-8", "surrogateescape")) == "/%FF"
