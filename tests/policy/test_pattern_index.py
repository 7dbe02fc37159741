"""The index finds every entry that may match, and few others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshware.policy.match import PathTemplate, Patterns, is_path_template
from meshware.policy.pattern_index import PatternIndex, literal_patterns

VALUES = st.lists(st.text("ab*", max_size=4), max_size=3)


@given(st.lists(VALUES, max_size=6), st.text("ab*", max_size=5))
def test_no_entry_that_matches_is_missed(entries, text):
    """Whatever its values look like."""
    patterns = [Patterns(values) for values in entries]
    found = PatternIndex(enumerate(patterns)).find(text)
    for number, one in enumerate(patterns):
        assert not one(text) or number in found


PATHS = st.lists(
    st.sampled_from(["/a", "/a*", "*b", "*", "/a/{*}", "/a/{**}/b", "/{*}", "/{**}", "/ab/{*}/a"]),
    min_size=1,
    max_size=3,
)


@given(st.lists(PATHS, max_size=6), st.text("/ab", max_size=7).map("/".__add__))
def test_no_entry_with_a_template_is_missed(entries, path):
    """A template is found by what stands before its first operator."""
    found = PatternIndex(
        (number, literal_patterns(paths)) for number, paths in enumerate(entries)
    ).find(path)
    for number, paths in enumerate(entries):
        matches = any(
            PathTemplate(one)(path) if is_path_template(one) else Patterns([one])(path)
            for one in paths
        )
        assert not matches or number in found


def test_of_many_entries_only_those_in_question_are_found():
    """The cost of a look-up does not grow with their number."""
    index = PatternIndex((number, Patterns([f"/p{number}/*"])) for number in range(10_000))
    assert index.find("/p77/x") == [77]
    assert index.find("/q") == []
    assert index.find("") == []
