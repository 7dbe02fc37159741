"""Regular expressions: RE2's dialect, whole values, and the same answer on either engine."""

from __future__ import annotations

import sys

import pytest
import re2
from hypothesis import assume, example, given
from hypothesis import strategies as st

from meshware.policy.automaton import Automaton
from meshware.policy.regex import Regex, compile_regex


@pytest.fixture(params=["google-re2", "automaton"])
def compiled(request, monkeypatch):
    """`compile_regex` with google-re2, and as if it were not installed."""
    if request.param == "automaton":
        monkeypatch.setitem(sys.modules, "re2", None)  # importing it fails
    return compile_regex


def test_without_google_re2_the_automaton_matches(monkeypatch):
    """The optional dependency only changes who does the work."""
    monkeypatch.setitem(sys.modules, "re2", None)
    assert isinstance(compile_regex("a"), Automaton)


MATCHING = {
    "whole value, not a part": ("foo", ["foo"], ["xfoo", "foox", "", "Foo"]),
    "alternatives": ("a|bc|", ["a", "bc", ""], ["b", "abc"]),
    "anchors change nothing": ("^foo$", ["foo"], ["foo\n", "\nfoo"]),
    "anchors of one alternative": ("^a|b$", ["a", "b"], ["ab"]),
    "Istio's cookie": (
        "^(.*?;)?(user=jason)(;.*)?$",
        ["user=jason", "a=b;user=jason", "user=jason;c=d"],
        ["user=jasonx", "xuser=jason", "a=b; user=jason"],
    ),
    "dot": ("a.c", ["abc", "aéc", "a😀c"], ["a\nc", "ac"]),
    "dot with s": ("(?s)a.c", ["a\nc"], ["ac"]),
    "counts": ("a{2}b{1,2}c{2,}", ["aabcc", "aabbccc"], ["abcc", "aabbbcc", "aabc"]),
    "a count of none": ("a{0}b", ["b"], ["ab"]),
    "braces that are no count": ("a{,2}{x}{", ["a{,2}{x}{"], ["aa"]),
    "lazy": ("a*?b+?c??", ["aab", "bc"], ["a"]),
    "classes": ("[a-c0-9_-]+", ["b-9_"], ["d", ""]),
    "a class with a bracket": ("[]a]+", ["]a"], ["b"]),
    "a negated class takes the newline": ("[^a]", ["b", "\n", "é"], ["a"]),
    "Perl's classes are ASCII": (r"\d\w\s\D\W\S", ["1_\tx-y"], ["١a bxx"]),
    "POSIX": ("[[:alpha:]][[:^digit:]]", ["ab"], ["a1", "é1"]),
    "categories": (r"\p{Lu}\pL\P{L}\p{^N}", ["Éa1x"], ["éa1x", "Éa11"]),
    "a category in a class": (r"[\p{Nd}x]+", ["1x٣"], ["y"]),
    "hexadecimal and octal": (r"\x41\x{1F600}\052\0", ["A😀*\0"], ["A"]),
    "control characters": (r"\n\r\t\f\v\a", ["\n\r\t\f\v\a"], ["nrtfva"]),
    "quoted": (r"\Qa.b*\E+", ["a.b*", "a.b**"], ["axb"]),
    "quoted to the end": (r"\Qa|b", ["a|b"], ["a", "b"]),
    "escaped": (r"\.\*\/\-", [".*/-"], ["x"]),
    "ignoring case": ("(?i)straße[a-c]", ["STRAßEB", "straßea"], ["strassea"]),
    "folding beyond ASCII": ("(?i)ks", ["KS", "\u212a\u017f"], ["k"]),
    "flags for a group": ("a(?i:b)c", ["aBc", "abc"], ["ABc", "abC"]),
    "flags end with their group": ("(a(?i)b)c", ["aBc"], ["aBC"]),
    "flags taken back": ("(?i)a(?-i)b", ["Ab"], ["aB"]),
    "lines": ("(?m)a$\n^b", ["a\nb"], ["ab"]),
    "named groups": ("(?P<a>x)(?<b>y)", ["xy"], ["x"]),
    "words": (r"\bfoo\b.*", ["foo", "foo bar"], ["foobar", "foo_"]),
    "inside of words": (r"foo\Bbar", ["foobar"], ["foo"]),
    "a word's edge nowhere": (r"a\bb", [], ["ab", "a b"]),
    "begin and end": (r"\Aa\z", ["a"], ["a\n"]),
    "an empty loop": ("(|a)*b", ["b", "aab"], ["a"]),
    "an assertion in a loop": ("(^a|b)*", ["", "abb", "bb"], ["ba", "aa"]),
    "nothing": ("", [""], ["a"]),
    "an empty class": (r"[^\x00-\x{10FFFF}]", [], ["", "a"]),
    "half of a surrogate pair": ("a.", ["a\udc80"], ["\udc80"]),
}


@pytest.mark.parametrize(("pattern", "yes", "no"), MATCHING.values(), ids=MATCHING)
def test_a_pattern_matches_whole_values_in_the_dialect_of_re2(compiled, pattern, yes, no):
    """The same with either engine."""
    regex: Regex = compiled(pattern)
    assert [text for text in yes if not regex.fullmatch(text)] == []
    assert [text for text in no if regex.fullmatch(text)] == []


REFUSED = {
    "lookahead": ("(?=a)b", "lookahead"),
    "negative lookahead": ("(?!a)b", "negative lookahead"),
    "lookbehind": ("(?<=a)b", "lookbehind"),
    "negative lookbehind": ("(?<!a)b", "negative lookbehind"),
    "backreference": (r"(a)\1", "backreference"),
    "named backreference": ("(?P<n>a)(?P=n)", "backreference"),
    "atomic group": ("(?>a)", "atomic"),
    "conditional": ("(a)?(?(1)b|c)", "conditional"),
    "comment": ("(?#note)a", "comment"),
    "possessive star": ("a*+", "possessive"),
    "possessive plus": ("a++", "possessive"),
    "a repetition of a repetition": ("a**", "put it into a group"),
    "a count of a count": ("a{2}{3}", "put it into a group"),
    "a lone star": ("*", "nothing for `*` to repeat"),
    "a star behind a bar": ("a|*", "nothing for `*` to repeat"),
    "a star behind flags": ("(?i)*", "nothing for `*` to repeat"),
    "counts the wrong way round": ("a{3,2}", "swap"),
    "a count too large": ("a{1001}", "1000 times"),
    "counts too large together": ("(a{100}){11}", "1000 times"),
    "too large": ("[a-z]{900}[0-9]{900}[a-f]{900}", "at most 2000"),
    "too long": ("é" * 513, "1026 bytes long; at most 1024"),
    "too deep": ("(" * 101 + ")" * 101, "100 deep"),
    "an open group": ("(a", "not closed"),
    "a group never opened": ("a)", "not opened"),
    "an open class": ("[a", "not closed"),
    "an empty class": ("[]", "not closed"),
    "an open flag group": ("(?", "not closed"),
    "an unknown flag": ("(?x)a", "flags are i, m, s and U"),
    "no flags taken back": ("(?i-)a", "not known to RE2"),
    "a range the wrong way round": ("[z-a]", "ends before it begins"),
    "a range to a class": (r"[a-\d]", r"`\d` is not known"),
    "an unknown POSIX class": ("[[:foo:]]", "[:foo:]"),
    "a lone backslash": ("a\\", "lone backslash"),
    "an unknown escape": (r"\e", r"`\e` is not known"),
    "another dialect's end": (r"a\Z", r"`\Z` is not known"),
    "an escaped letter": ("\\é", "not known"),
    "a hexadecimal half": (r"\x4", "two hexadecimal digits"),
    "an open hexadecimal": (r"\x{41", "two hexadecimal digits"),
    "beyond Unicode": (r"\x{110000}", "10FFFF"),
    "a script": (r"\p{Greek}", "general category"),
    "an open category": (r"\p{L", "not closed"),
    "no category": (r"\p", "names no category"),
    "a bad group name": ("(?P<a-b>x)", "group's name"),
    "half of a surrogate pair": ("\ud800", "surrogate"),
}


@pytest.mark.parametrize(("pattern", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_re2_lacks_is_refused_with_its_reason(compiled, pattern, reason):
    """Refusing is the parser's business, so both engines refuse alike."""
    with pytest.raises(ValueError) as refusal:
        compiled(pattern)
    assert reason in str(refusal.value)


def test_a_hostile_text_costs_what_its_length_costs():
    """What makes a backtracking engine try every way to split a text is one walk here."""
    regex = Automaton("(a|aa)+(a*)*.*b.*c.*d")
    assert not regex.fullmatch("a" * 50_000 + "bcbcbc" * 1_000)
    assert regex.fullmatch("a" * 50_000 + "bcd")


def test_what_is_remembered_is_bounded():
    """A pattern with more states than memory forgets and goes on."""
    regex = Automaton("[ab]*a[ab]{16}")
    text = "".join("ab"[(n * n // 7 + n // 3) % 2] for n in range(20_000))
    assert regex.fullmatch(text + "a" + "b" * 16)
    assert not regex.fullmatch(text + "b" * 17)
    assert regex._remembered < 60_000


PIECES = st.sampled_from(
    [
        "a", "b", "k", "é", "\n", " ", "-", "_", "1", ".", "^", "$", "|", "*", "+", "?", "*?",
        "(", ")", "(?:", "(?i)", "(?i:", "(?s)", "(?m)", "(?-i:", "(?P<n>", "[", "]", "[^", "[a-k]",
        "[^b]", "{2}", "{0,2}", "{1,}", "{", "}", ",", r"\d", r"\W", r"\w", r"\s", r"\b", r"\B",
        r"\A", r"\z", r"\pL", r"\PL", r"\x61", r"\n", r"\.", r"\Q", r"\E", "[[:alpha:]]", "[:",
        "\\", "(?", "0", r"\1", r"\01",
    ]
)  # fmt: skip
TEXTS = st.text("abkKA1é\n _-\u212a", max_size=8)


@given(pattern=st.lists(PIECES, max_size=10).map("".join), texts=st.lists(TEXTS, max_size=8))
@example(pattern="(?i)k+", texts=["K\u212a"])
@example(pattern=r"(?m)^\b$", texts=["", "a"])
def test_our_automaton_agrees_with_re2(pattern, texts):
    """A pattern that either refuses, both refuse; and every text has one answer."""
    options = re2.Options()
    options.log_errors = False
    try:
        theirs = re2.compile(pattern, options)
    except re2.error:
        theirs = None
    try:
        ours = Automaton(pattern)
    except ValueError:
        ours = None
    assert (ours is None) == (theirs is None)
    assume(ours is not None)
    for text in texts:
        assert ours.fullmatch(text) == (theirs.fullmatch(text) is not None), text
