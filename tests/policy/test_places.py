"""Where resources are written: kept beside the records, and asked for by name and field."""

from __future__ import annotations

from meshware.policy.parse import Origin, parse_text
from meshware.policy.places import Name, Places

TEXT = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: root}
spec:
  hosts: [a]
  http:
    - match: [{uri: {prefix: /b}}]
      delegate: {name: part, namespace: other}
    - route: [{destination: {host: a}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: part, namespace: other}
spec:
  http:
    - route: [{destination: {host: a}}]
    - match: [{method: {exact: GET}}]
      route: [{destination: {host: a}}]
"""
ROOT = Name("VirtualService", "default", "root")


def places() -> Places:
    """The places of the text above."""
    resources, problems = parse_text(TEXT, "mesh.yaml")
    assert not problems
    return Places(resources)


def test_a_field_has_its_line_and_an_unwritten_one_that_of_what_is_around_it():
    """Line 1 is the first of the file, not of the document."""
    there = places()
    assert there.find(ROOT) == Origin("mesh.yaml", 1)
    assert there.find(ROOT, "spec.http[1]") == Origin("mesh.yaml", 9)
    assert there.find(ROOT, "spec.http[1].retries.attempts") == Origin("mesh.yaml", 9)
    assert there.find(Name("VirtualService", "other", "part")) == Origin("mesh.yaml", 11)


def test_what_nobody_read_has_no_place():
    """A published policy file has no places at all."""
    assert Places().find(ROOT) is None
    assert Places().parts(ROOT) == ()
    assert places().find(Name("DestinationRule", "default", "root")) is None


def test_rules_of_a_delegate_know_whose_they_are():
    """By their position in the record, where they stand in the place of the root's rule."""
    found = [
        (part.delegate.name if part.delegate else None, part.index, part.position)
        for part in places().parts(ROOT)
    ]
    assert found == [("part", 0, 0), ("part", 0, 1), (None, 1, 1)]
