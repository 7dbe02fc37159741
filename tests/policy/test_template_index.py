"""Templates are found by their literal segments or by how they end, and none is missed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshware.policy.match import PathTemplate
from meshware.policy.template_index import TemplateIndex, template_slots

SEGMENTS = st.lists(st.sampled_from(["a", "b", "", "{*}"]), min_size=1, max_size=3)
TEMPLATES = st.one_of(
    SEGMENTS.filter(lambda found: "{*}" in found),
    st.tuples(SEGMENTS, st.lists(st.sampled_from(["a", "b", ""]), max_size=2)).map(
        lambda parts: [*parts[0], "{**}", *parts[1]]
    ),
).map(lambda found: "/" + "/".join(found))


@given(st.lists(TEMPLATES, max_size=8), st.text("/ab", max_size=8).map("/".__add__))
def test_no_template_that_matches_is_missed(templates, path):
    """In whichever of its places each is kept."""
    for which in (0, -1):
        entries: dict = {}
        for number, template in enumerate(templates):
            entries.setdefault(template_slots(template)[which], []).append(number)
        found = TemplateIndex(entries).find(path)
        for number, template in enumerate(templates):
            assert not PathTemplate(template)(path) or number in found, template


def test_of_many_templates_only_those_in_question_are_found():
    """Whatever comes before the segment in which they differ."""
    index = TemplateIndex(
        {template_slots(f"/{{*}}/x{number}/{{*}}")[0]: [number] for number in range(1000)}
    )
    assert index.find("/a/x77/b") == [77]
    assert index.find("/a/x77") == []
    assert index.find("/" * 1000) == []
