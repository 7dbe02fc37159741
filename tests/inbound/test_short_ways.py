"""What is known of usual calls at a glance: the long way says the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inbound_world import request

from meshware.inbound.header_names import header_names
from meshware.inbound.meaning import meaning_of
from meshware.inbound.wellformed import MESH_HEADERS, complaint, plain_path
from meshware.trace import TRACE_HEADERS

TARGETS = st.text(st.sampled_from("/ab1.~-_%2fF?#;=&\\{}:@\x00\x7f\x80é\t "), max_size=12)
NOTHING: frozenset[str] = frozenset()


@given(
    TARGETS | TARGETS.map("/".__add__),
    st.none() | TARGETS.map("/".__add__),
    st.sampled_from([(), ("/b",), ("",)]),
    st.sampled_from([None, "/b"]),
)
def test_a_plain_path_means_what_it_means_the_long_way(target, path, partial, second):
    """Whatever the app sees beside it."""
    paths = None if path is None else (path,) if second is None else (path, second)
    head = request(target, paths=paths, partial_paths=partial)
    plain = plain_path(head)
    if plain is not None:
        names = header_names(head.names)
        found = complaint(head, names, None, read=NOTHING, values_read=NOTHING)
        assert found is complaint(head, names, plain, read=NOTHING, values_read=NOTHING) is None
        assert meaning_of(head, None, plain) == meaning_of(head, None, None)
        assert meaning_of(head, None, plain).candidates == (plain,)


@pytest.mark.parametrize("target", ["/", "/a", "/users/17", "/a/b/", "/a?b=/../c", "/a.b/~c;d=1"])
def test_most_paths_are_plain(target):
    assert plain_path(request(target)) == target.partition("?")[0]


@pytest.mark.parametrize(
    ("target", "paths", "partial"),
    [
        ("/a/../b", None, ()),
        ("//a", None, ()),
        ("/a//b", None, ()),
        ("/.a", None, ()),
        ("/a%2fb", None, ()),
        ("/a#b", None, ()),
        ("/a?b\x00", None, ()),
        ("/a", ("/b",), ()),
        ("/a", ("/a", "/b"), ()),
        ("/p/a", ("/p/a",), ("/a",)),
        ("http://app/a", ("/a",), ()),
        (None, ("/a",), ()),
        ("", ("",), ()),
        ("*", ("*",), ()),
    ],
)
def test_what_could_be_read_twice_is_not_plain(target, paths, partial):
    """It is looked at in full."""
    assert plain_path(request(target, paths=paths, partial_paths=partial)) is None


NAMES = st.lists(
    st.sampled_from([
        "host", "accept", "x-user", "x_user", "x-envoy-a", "x_envoy-a", "x-envoy", "x-meshware-b",
        "x_forwarded_client_cert", "x-forwarded-client-cert-2", "content_length", *TRACE_HEADERS,
    ]),
    max_size=8,
)  # fmt: skip


@given(NAMES)
def test_names_say_the_same_each_time(names):
    """By what each of them says alone."""
    ours = ("x-envoy-", "x-meshware-", "x-forwarded-client-cert")
    for found in (header_names(names), header_names(tuple(names))):
        assert list(found.ours) == [n for n in names if n.replace("_", "-").startswith(ours)]
        assert [name for name, _ in found.twins] == [name for name in names if "_" in name]
        assert all(twin == name.replace("_", "-") for name, twin in found.twins)
        assert set(found.traces) == TRACE_HEADERS.intersection(names)


def test_any_number_of_names_is_told_apart():
    """More than are remembered, and longer ones."""
    for number in range(3000):
        assert header_names((f"x_{number}",)).twins == ((f"x_{number}", f"x-{number}"),)
    many = tuple(f"x_{number}" for number in range(500))
    assert len(header_names(many).twins) == 500
    assert header_names(("content_length",)).twins[0][1] in MESH_HEADERS
