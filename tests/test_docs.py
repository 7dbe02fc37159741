"""What the pages say is there, and the examples load."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from meshware.dashboard import traces
from meshware.policy.load import load
from meshware.runtime import outbound_answer
from meshware.runtime.explain import InboundAnswer, Question
from meshware.runtime.outbound_answer import OutboundAnswer
from meshware.syncd import rings
from meshware.telemetry import call_ring, ring_file, span_ring

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
LINK = re.compile(r"(?<!!)\[[^]]+]\(([^)#\s]+)?(#[^)\s]+)?\)")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    heads = re.findall(r"^#+ (.+)$", CODE.sub("", page.read_text()), re.MULTILINE)
    return {
        "#" + re.sub(r"[^a-z0-9 _-]", "", head.lower()).strip().replace(" ", "-") for head in heads
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    """To a file of the repository, and to a heading that it has."""
    wrong = []
    for path, anchor in LINK.findall(CODE.sub("", page.read_text())):
        if path.startswith(("http://", "https://")):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(path + anchor)
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_has_a_gap_left_to_fill(page):
    """A word in capitals and underscores outside of code is a place that nobody filled."""
    text = re.sub(r"`[^`]*`", "", CODE.sub("", page.read_text()))
    assert re.findall(r"\b[A-Z]{2,}_[A-Z_]+\b|\bTODO\b|\bTBD\b", text) == []


def test_the_page_of_explain_names_every_field_of_its_answers():
    """And of its questions: programs are written by that page."""
    text = (ROOT / "docs/reference/explain.md").read_text()
    structs = [Question, InboundAnswer, OutboundAnswer]
    structs += [found for found in vars(outbound_answer).values() if isinstance(found, type)]
    named = {
        field
        for struct in structs
        if issubclass(struct, msgspec.Struct)
        for field in struct.__struct_fields__
    }
    assert len(named) > 50
    assert sorted(field for field in named if f"`{field}`" not in text) == []


def test_the_decisions_are_all_in_their_index():
    """A page that nobody links to is read by nobody."""
    index = (ROOT / "docs/decisions/README.md").read_text()
    pages = sorted(path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert [name for name in pages if f"({name})" not in index] == []


def test_the_policies_of_the_examples_have_no_problem():
    """Not even a warning: people copy them."""
    loaded = load([ROOT / "examples/policies"])
    assert not loaded.problems
    assert len(loaded.resources) > 5


def test_every_file_of_the_life_of_a_request_exists():
    """The page leads newcomers from step to step by file names."""
    text = (ROOT / "docs/life-of-a-request.md").read_text()
    names = set(re.findall(r"`([a-z0-9_]+/(?:[a-z0-9_/]+\.py)?)`", text))
    assert names
    assert [name for name in sorted(names) if not (ROOT / "meshware" / name).exists()] == []


def test_the_page_of_the_dashboard_says_what_is_kept():
    """As many calls and spans as the code keeps, for as long."""
    page = (ROOT / "docs/reference/dashboard.md").read_text()
    said = {
        f"{call_ring.MOST_CALLS} calls and {ring_file.MOST_SPANS} spans",
        f"{ring_file.MAX_RING_BYTES // 1024} KiB",
        f"for {rings.KEPT_S / 60:.0f} minutes",
        f"{rings.MOST_FILES} workers, {rings.MOST_OF_WORKLOAD} of one workload",
        f"{traces.MOST_TRACES} traces of {traces.MOST_SPANS_OF_TRACE} spans",
        f"keeps {call_ring.MOST_A_SECOND} calls at the most",
        f"its last {span_ring.MOST_CALLS} sampled calls",
    }
    assert {words for words in said if words not in page} == set()
