"""Whether a path can be of a route and meet a pattern: by table, and against real matchers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshware.policy.match import PathTemplate, Patterns, is_path_template
from meshware.policy.path_overlap import literal_of, may_meet, pattern_pieces, template_pieces


@pytest.mark.parametrize(
    ("route", "value", "expected"),
    [
        ("/users", "/users", True),
        ("/users", "/user", False),
        ("/users/{id}", "/users/7", True),
        ("/users/{id}", "/users/", False),
        ("/users/{id}", "/users/7/x", False),
        ("/users/{id:int}", "/users/*", True),
        ("/users/{id}", "/u*", True),
        ("/users/{id}", "/users/7/*", False),
        ("/users/{id}", "*7", True),
        ("/users/{id}", "*/7/x", False),
        ("/users/{id}", "*", True),
        ("/users/{id}", "/users/{*}", True),
        ("/users/{id}", "/users/{*}/x", False),
        ("/users/{id}", "/{**}/x", True),
        ("/users/{id}", "/{**}", True),
        ("/users/{id}/x", "/users/{*}/x", True),
        ("/f/{rest:path}", "/f/a/b/c", True),
        ("/f/{rest:path}", "/f/", True),
        ("/f/<path:rest>", "/f/a/b", True),
        ("/f/<int:rest>", "/f/a/b", False),
        ("/f/<mine:rest>", "/f/a/b", True),
        ("/f/<any(a, b):rest>/x", "/f/a/x", True),
        ("users/<int:pk>/", "/users/7/", True),
        ("users/<int:pk>/", "/users/7", False),
        ("/a b", "/a%20b", True),
        ("/é", "/%c3%a9", True),
        ("", "/", True),
    ],
)
def test_a_route_and_a_pattern_may_meet(route, value, expected):
    """Segments hold no slash, and `*` stands for anything."""
    assert may_meet(template_pieces((route,)), pattern_pieces(value)) is expected


@pytest.mark.parametrize(
    ("routes", "value", "expected"),
    [
        (("^old/(?P<year>[0-9]+)/$", "/old/{year}/"), "/old/1/", True),
        (("^old/(?P<year>[0-9]+)/$", "/old/{year}/"), "/new/1/", False),
        ((r"^odd/(\d+)/$",), "/anything", True),
        ((), "/anything", True),
    ],
)
def test_what_has_no_template_may_be_anything(routes, value, expected):
    """Nothing is told of what is not certain."""
    assert may_meet(template_pieces(routes), pattern_pieces(value)) is expected


def test_a_route_without_parameters_has_one_path():
    """Which can be compared as it is."""
    assert literal_of(template_pieces(("/a/b",))) == "/a/b"
    assert literal_of(template_pieces(("/a/{b}",))) is None


PATHS = st.lists(st.sampled_from(["", "a", "b", "ab"]), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)
VALUES = st.one_of(
    PATHS,
    PATHS.map(lambda path: path + "*"),
    PATHS.map(lambda path: "*" + path),
    st.sampled_from(["/a/{*}", "/{*}/b", "/{**}", "/a/{**}/b", "/{*}", "*"]),
)


@given(PATHS, VALUES)
def test_of_a_literal_route_it_says_what_the_matcher_says(path, value):
    """The matchers of calls are the oracle."""
    matcher = PathTemplate(value) if is_path_template(value) else Patterns([value])
    assert may_meet(template_pieces((path,)), pattern_pieces(value)) is matcher(path)


@given(PATHS, PATHS, VALUES)
def test_what_matches_is_never_said_not_to_meet(before, after, value):
    """A parameter between two literals: some value of it is tried."""
    matcher = PathTemplate(value) if is_path_template(value) else Patterns([value])
    pieces = template_pieces((f"{before}/{{x}}{after}",))
    if any(matcher(f"{before}/{filled}{after}") for filled in ("a", "b", "ab", "aab")):
        assert may_meet(pieces, pattern_pieces(value))
