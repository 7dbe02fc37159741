"""How policies match text, by tables, and by agreement with matchers too plain to be wrong."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshware.policy.document.common import StringMatch
from meshware.policy.match import PathTemplate, Patterns, is_path_template, string_matcher


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        ("abc", "abc", True),
        ("abc", "abcd", False),
        ("abc", "ABC", False),
        ("abc*", "abc", True),
        ("abc*", "abcd", True),
        ("abc*", "xabc", False),
        ("*abc", "abc", True),
        ("*abc", "xabc", True),
        ("*abc", "abcx", False),
        ("*", "x", True),
        ("*", "", False),
        ("a*c", "a*c", True),
        ("a*c", "abc", False),
        ("*abc*", "xabc*", True),
        ("*abc*", "xabcx", False),
        ("**", "a*", True),
        ("**", "a", False),
        (".", "x", False),
        ("a.c*", "abc", False),
    ],
)
def test_a_value_is_exact_or_ends_in_one_star(value, text, expected):
    """As Istio takes it apart: a star in front counts before one behind."""
    assert Patterns([value])(text) is expected


def test_presence_of_what_comes_from_headers_takes_an_empty_text():
    """There a header without a value is there."""
    assert Patterns(["*"], is_empty_present=True)("")
    assert not Patterns(["*"])("")


@given(
    st.lists(st.text("ab*", max_size=3), max_size=4),
    st.text("ab*", max_size=4),
)
def test_values_match_when_any_of_them_does(values, text):
    """Whatever they are looked up by."""
    assert Patterns(values)(text) is any(Patterns([value])(text) for value in values)


@given(st.text("ab*/", max_size=4), st.text("ab*/", max_size=5))
def test_a_value_matches_as_a_plain_reading_says(value, text):
    """One comparison for each of the four forms."""
    if value == "*":
        expected = text != ""
    elif value.startswith("*"):
        expected = text.endswith(value[1:])
    elif value.endswith("*"):
        expected = text.startswith(value[:-1])
    else:
        expected = text == value
    assert Patterns([value])(text) is expected


# --- templates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("/a/{*}", "/a/b", True),
        ("/a/{*}", "/a/", False),
        ("/a/{*}", "/a", False),
        ("/a/{*}", "/a/b/", False),
        ("/a/{*}", "/a/b/c", False),
        ("/{*}", "/", False),
        ("/{*}/{*}", "/a/b", True),
        ("/{*}/x/{*}", "/a/x/b", True),
        ("/{*}/x/{*}", "/a/y/b", False),
        ("/a/{**}", "/a/", True),
        ("/a/{**}", "/a/b", True),
        ("/a/{**}", "/a/b/c/", True),
        ("/a/{**}", "/a", False),
        ("/a/{**}", "/ab", False),
        ("/{**}", "/", True),
        ("/{**}", "//", True),
        ("/s/{**}/cart", "/s//cart", True),
        ("/s/{**}/cart", "/s/cart", False),
        ("/s/{**}/cart", "/s/a/cart", True),
        ("/s/{**}/cart", "/s/a/b/cart", True),
        ("/s/{**}/cart", "/s/a/cart/x", False),
        ("/s/{**}/cart", "/s/xcart", False),
        ("/a/{*}/{**}", "/a/b/", True),
        ("/a/{*}/{**}", "/a//c", False),
        ("/a/{*}", "/a/{*}", True),
        ("/a/{*}/c", "/a/*/c", True),
        ("/a/{*}/c", "/a/*/d", False),
        ("/a/{*}", "/a/%2F", True),
        ("/a/{*}", "/a/b\n", True),
    ],
)
def test_a_template_matches_segment_by_segment(template, path, expected):
    """`{*}` is one segment that is not empty, `{**}` any rest."""
    assert PathTemplate(template)(path) is expected


@pytest.mark.parametrize(
    "template",
    [
        "{*}",
        "a/{*}",
        "/{*}.txt",
        "/x{*}",
        "/{**}/{*}",
        "/{**}/{**}",
        "/{*}/{x}",
        "/{*}/a*",
        "/{***}",
    ],
)
def test_a_template_that_could_mean_two_things_is_refused(template):
    """An operator is a whole segment, and `{**}` the last one."""
    with pytest.raises(ValueError, match=re.escape(repr(template))):
        PathTemplate(template)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("/a/{*}", True), ("/{**}", True), ("/a*", False), ("/{a}", False), ("/{}", False)],
)
def test_a_template_is_told_by_its_operators(value, expected):
    """Other braces are plain characters."""
    assert is_path_template(value) is expected


SEGMENT = st.sampled_from(["a", "b", "ab"])


@st.composite
def templates(draw):
    """A template, and the regular expression that says the same."""
    pieces = [("/" + one, "/" + one) for one in draw(st.lists(SEGMENT, max_size=2))]
    pieces += [("/{*}", "/[^/]+")] * draw(st.integers(0, 2))
    draw(st.randoms()).shuffle(pieces)
    if draw(st.booleans()):
        tail = "".join("/" + one for one in draw(st.lists(SEGMENT, max_size=2)))
        pieces.append(("/{**}" + tail, "/.*" + tail))
    if not any("{" in piece for piece, _ in pieces):
        pieces.append(("/{*}", "/[^/]+"))
    return "".join(piece for piece, _ in pieces), "".join(regex for _, regex in pieces)


@given(templates(), st.text("/ab", max_size=9))
def test_a_template_agrees_with_a_regular_expression(pair, rest):
    """For every path."""
    template, regex = pair
    path = "/" + rest
    assert PathTemplate(template)(path) is bool(re.fullmatch(regex, path, re.DOTALL))


@given(templates(), st.text("/ab", max_size=9))
def test_what_a_template_takes_begins_with_its_literal(pair, rest):
    """Rules are looked up by that."""
    template, _ = pair
    matcher, path = PathTemplate(template), "/" + rest
    assert not matcher(path) or path.startswith(matcher.literal)


def test_a_long_hostile_path_is_matched_without_going_back_and_forth():
    """Else this test would not end."""
    matcher = PathTemplate("/a/{*}/b/{**}/c")
    assert not matcher("/a" * 100_000)
    assert not matcher("/a/x/b" + "/c" * 100_000 + "/d")


# --- StringMatch ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "text", "expected"),
    [
        (StringMatch(exact="a"), "a", True),
        (StringMatch(exact="a"), "A", False),
        (StringMatch(exact=""), "", True),
        (StringMatch(prefix="a"), "ab", True),
        (StringMatch(prefix="a"), "ba", False),
        (StringMatch(regex="a.c"), "abc", True),
        (StringMatch(regex="a.c"), "abcd", False),
        (StringMatch(regex="*"), "anything", True),
        (StringMatch(), "", True),
    ],
)
def test_a_string_match_is_exact_prefix_regex_or_presence(match, text, expected):
    """A regular expression matches the whole text."""
    assert string_matcher(match)(text) is expected


@pytest.mark.parametrize("match", [StringMatch(exact="/Ab"), StringMatch(prefix="/Ab")])
def test_case_is_ignored_only_where_that_is_asked_for(match):
    """`ignoreUriCase`."""
    assert not string_matcher(match)("/aB")
    assert string_matcher(match, ignore_case=True)("/aB")
    assert not string_matcher(match, ignore_case=True)("/x")
