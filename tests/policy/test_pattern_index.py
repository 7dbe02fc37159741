"""The index finds every entry that may match, and few others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshware.policy.match import Patterns
from meshware.policy.pattern_index import PatternIndex, Prefixes, chain_weights

VALUES = st.lists(st.text("ab*", min_size=1, max_size=5).filter(lambda value: value != "*"))


def by_value(values):
    """Entries by value, one for each."""
    entries: dict[str, list[int]] = {}
    for number, value in enumerate(values):
        entries.setdefault(value, []).append(number)
    return entries


@given(VALUES, st.text("ab*", max_size=6))
def test_exactly_the_entries_that_match_are_found(values, text):
    """Whatever the values look like, and however they are nested."""
    found = PatternIndex(by_value(values)).find(text)
    expected = [number for number, value in enumerate(values) if Patterns([value])(text)]
    assert sorted(found) == expected


@given(st.lists(st.text("ab", min_size=1, max_size=60), max_size=60), st.text("ab", max_size=60))
def test_all_prefixes_of_a_text_are_found(prefixes, text):
    """Among many that it does not begin with."""
    entries = by_value(prefixes + [text[:at] for at in range(1, len(text), 3)])
    found = set(Prefixes(entries).find(text))
    for value, numbers in entries.items():
        assert text.startswith(value) is found.issuperset(numbers)


def test_more_nested_prefixes_than_are_kept_together_are_all_found():
    """Beyond that number they are followed one by one."""
    index = Prefixes({"a" * number: [number] for number in range(1, 200)})
    assert sorted(index.find("a" * 150 + "b")) == list(range(1, 151))
    assert index.find("b") == ()


def test_of_nested_prefixes_only_those_that_can_decide_are_found():
    """The first of those that ask the same."""
    entries = {"a" * number: [10_000 - number] for number in range(1, 10_000)}
    index = Prefixes(entries, kept=lambda numbers: (min(numbers),))
    assert index.find("a" * 20_000) == (1,)
    assert index.find("a" * 50 + "b") == (9950,)


def test_of_many_entries_only_those_in_question_are_found():
    """The cost of a look-up does not grow with their number."""
    index = PatternIndex({f"/p{number}/*": [number] for number in range(10_000)})
    assert list(index.find("/p77/x")) == [77]
    assert list(index.find("/q")) == []
    assert list(index.find("")) == []


@given(st.dictionaries(st.text("ab", min_size=1, max_size=4), st.integers(1, 5), max_size=8))
def test_a_prefix_weighs_what_a_text_that_begins_with_it_finds_at_the_most(counts):
    """Longer ones that it is part of are met together with it."""
    weights = chain_weights(counts)
    for prefix in counts:
        texts = [text for text in counts if text.startswith(prefix)]
        expected = max(
            sum(count for other, count in counts.items() if text.startswith(other))
            for text in texts
        )
        assert weights[prefix] == expected


@given(
    st.lists(st.text("ab", min_size=2, max_size=5), min_size=1, max_size=40),
    st.lists(st.text("ab", min_size=1, max_size=12), max_size=12),
    st.text("ab", max_size=14),
)
def test_it_matters_not_how_many_lengths_there_are(few, many, text):
    """Some are looked up by hash, and more of them in order."""
    entries = by_value(few + many)
    expected = sorted(
        number for value, numbers in entries.items() if text.startswith(value) for number in numbers
    )
    index = Prefixes(entries)
    assert sorted(index.find(text)) == expected
    assert sorted(index.finder()(text)) == expected
