"""Replacing by a regular expression: RE2's way, and the same with google-re2 and without."""

from __future__ import annotations

import re
import sys
import time

import pytest
import re2
from hypothesis import assume, given
from hypothesis import strategies as st

from meshware.policy.regex_groups import Finder
from meshware.policy.regex_replace import compile_replacer


@pytest.fixture(params=["google-re2", "our own"])
def replaced(request, monkeypatch):
    """A function that replaces, with google-re2, and as if it were not installed."""
    if request.param == "our own":
        monkeypatch.setitem(sys.modules, "re2", None)  # importing it fails
    return lambda pattern, rewrite, text: compile_replacer(pattern, rewrite).replace(text)


@pytest.mark.parametrize(
    ("pattern", "rewrite", "text", "expected"),
    [
        # Envoy, `regex_rewrite`: the examples of its documentation
        (r"^/service/([^/]+)(/.*)$", r"\2/instance/\1", "/service/foo/v1/api",
         "/v1/api/instance/foo"),
        ("one", "two", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/two/zzz"),
        ("^(.*?)one(.*)$", r"\1two\2", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/one/zzz"),
        ("(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb", "/aaa/yyy/bbb"),
        # RE2's own: `GlobalReplace`
        ("", "x", "/ab", "x/xaxbx"),
        ("b*", "x", "/abb", "x/xax"),
        ("/(a)?", r"[\1]", "/a/", "[a][]"),
        ("a|ab", "x", "/ab", "/xb"),
        ("a+?", "x", "/aa", "/xx"),
        ("(?U)a+", "x", "/aa", "/xx"),
        ("(?U)a+?", "x", "/aa", "/x"),
        ("(a)(b)?(c)", r"\3\2\1", "/ac", "/ca"),
        (r"\bv(\d)\b", r"version\1", "/v1/xv2/v3", "/version1/xv2/version3"),
        ("(a|b)*", r"<\1>", "/abab", "<>/<b>"),
        ("(?:x)(?P<name>y)", r"\1\0", "/xy", "/yxy"),
        ("$", "z", "/a", "/az"),
        ("^", "z", "/a", "z/a"),
        ("a", r"\\", "/a", "/\\"),
        ("nothing", "x", "/a", "/a"),
        ("é", "e", "/é", "/e"),
        ("([^/]*)/?$", r"\1.html", "/docs/page/", "/docs/page.html"),
    ],
)  # fmt: skip
def test_every_match_is_replaced(replaced, pattern, rewrite, text, expected):
    """From the left, the preferred alternative first."""
    assert replaced(pattern, rewrite, text) == expected


@pytest.mark.parametrize(
    ("pattern", "rewrite", "reason"),
    [
        ("a", r"\1", "the pattern has no group"),
        ("(a)", r"\2", "the pattern has one group"),
        ("(a)(?:b)(c)", r"\3", "the pattern has 2 groups"),
        ("a", "\\x", "followed by a digit or a backslash"),
        ("a", "\\", "followed by a digit or a backslash"),
        ("(?=a)", "", "a lookahead"),
        ("(", "", "not closed"),
    ],
)
def test_what_cannot_be_is_refused(replaced, pattern, rewrite, reason):
    """When policy is read, not when a call comes."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        replaced(pattern, rewrite, "")


def test_half_of_a_surrogate_pair_is_only_a_character(replaced):
    """It stands for a byte that is not UTF-8, and google-re2 takes none."""
    assert replaced("(.)b", r"\1c", "/\udcffb") == "/\udcffc"


def test_hostile_text_costs_what_its_length_costs():
    """A backtracking search would take longer than the universe is old."""
    began = time.process_time()
    compile_with_ours = Finder("^(a*)*(a*)*(a*)*b$").search
    assert compile_with_ours("/" + "a" * 300, 0) is None
    assert time.process_time() - began < 20


_PIECES = st.sampled_from(
    ["a", "b", "/", ".", "[ab]", "[^a]", "^", "$", r"\b", "(a)", "(b|a)", "(a|)", "(?:ab)"]
)
_COUNTED = st.tuples(_PIECES, st.sampled_from(["", "", "*", "+", "?", "*?", "+?", "??", "{1,2}"]))
_PATTERNS = st.lists(_COUNTED.map("".join), min_size=1, max_size=5).map("".join)


@given(pattern=_PATTERNS | st.tuples(_PATTERNS, _PATTERNS).map("|".join),
       text=st.text("ab/", max_size=8))  # fmt: skip
@pytest.mark.hypothesis
def test_our_finder_agrees_with_re2(pattern, text):
    """Where the match is, and what each group took of it."""
    try:
        finder = Finder(pattern)
    except ValueError:
        assume(False)
    # RE2 takes an empty turn of a repetition otherwise than anybody else.
    assume(not re.search(r"\(a\|\)[*+?{]|[\^$b]\)?[*+?{]", pattern))
    found = re2.compile(pattern).search(text)
    ours = finder.search(text, 0)
    if found is None:
        assert ours is None
    else:
        theirs = [
            span if span >= 0 else None
            for number in range(found.re.groups + 1)
            for span in found.span(number)
        ]
        assert ours is not None and list(ours) == theirs
