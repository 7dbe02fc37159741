"""The file of a worker's rings: bounded, made anew only when it says something new, and a claim."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshware.legible import legible
from meshware.telemetry.call_record import CallRecord, TryRecord
from meshware.telemetry.call_ring import MOST_CALLS
from meshware.telemetry.ring_file import MAX_RING_BYTES, MOST_SPANS, Rings, WorkerRings, decode
from meshware.telemetry.span_ring import SpanRecord

NOW = 2000.0


def call(number: int = 1, **said) -> CallRecord:
    """A refused call."""
    record = {
        "at": 1000.0 + number, "direction": "inbound", "outcome": "refused", "method": "GET",
        "host": "app", "path": "/closed", "status": 403, "reason": "no", "duration_s": 0.001,
        "generation": 1,
    } | said  # fmt: skip
    return CallRecord(number=number, **record)


def span(number: int = 1, **said) -> SpanRecord:
    """A server span."""
    record = {
        "trace_id": f"{number:032x}", "span_id": f"{number:016x}", "name": "app/*",
        "kind": "server", "start": 1000.0 + number, "duration_s": 0.01, "status": "ok",
    } | said  # fmt: skip
    return SpanRecord(**record)


def file_of(calls=(), spans=(), left_out=0) -> bytes:
    """As a worker writes it."""
    return WorkerRings(lambda: list(calls), lambda: left_out, lambda: list(spans))()


def read(data: bytes) -> Rings:
    """As the daemon reads it."""
    rings = decode(data, NOW)
    assert rings is not None
    return rings


def raw(**said) -> bytes:
    """What anybody may write."""
    return msgspec.msgpack.encode({"meshware": 1, **said})


def test_what_is_written_is_read_the_newest_first():
    tried = TryRecord(number=1, endpoint="10.0.0.1:80", began_s=0.0, duration_s=0.1, status=503)
    first, second = call(1), call(2, tries=(tried,), trace_id="a" * 32)
    spans = [(span(1),), (span(2), span(3, parent_id=f"{2:016x}", kind="client"))]
    rings = read(file_of([first, second], spans, left_out=3))
    assert rings.calls == (second, first)
    assert rings.spans == (spans[1], spans[0])
    assert rings.left_out == 3


def test_nothing_to_tell_is_no_file_and_nothing_new_the_same_object():
    """So whoever writes it has to compare nothing."""
    calls, spans = [], []
    make = WorkerRings(lambda: list(calls), lambda: 0, lambda: list(spans))
    assert make() == b""
    calls.append(call())
    first = make()
    assert make() is first
    spans.append((span(),))
    assert make() is not first
    del calls[:]  # as a full ring loses its oldest while it gets a newer one
    calls.append(call(2))
    assert [each.number for each in read(make()).calls] == [2]


def test_however_much_there_is_the_file_is_bounded_and_the_newest_are_in_it():
    long = {f"attribute-{n}": "x" * 256 for n in range(30)}
    calls = [call(n, path="/" + "p" * 500, candidates=("c" * 500,) * 8) for n in range(1, 201)]
    spans = [tuple(span(n * 10 + m, attributes=long) for m in range(5)) for n in range(200)]
    data = file_of(calls, spans)
    assert len(data) <= MAX_RING_BYTES
    rings = read(data)
    assert rings.calls[0].number == 200
    assert rings.spans[0][0].span_id == f"{1990:016x}"
    assert len(rings.calls) > 20
    assert len(rings.spans) > 3


def test_spans_are_written_without_secrets_and_without_callers_headers():
    token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
    said = {
        "url.path": f"/a/{token}", "url.full": "http://user:hunter2@shop/a", "user_agent": "curl",
        "user_agent.original": "curl", "http.url": f"http://x/{token}", "meshware.attempt": 2,
        "meshware.failure": "no way to http://a/b?key=hunter2",
    }  # fmt: skip
    [[read_span]] = read(file_of(spans=[(span(attributes=said),)])).spans
    assert read_span.attributes == {
        "url.path": "/a/[token]", "url.full": "http://***@shop/a", "meshware.attempt": 2,
        "meshware.failure": "no way to http://a/b?...",
    }  # fmt: skip


def test_half_of_a_surrogate_pair_spoils_nothing():
    """An app may make such a text."""
    data = file_of([call()], [(span(name="\ud800", attributes={"a": "\udfff"}),), (span(2),)])
    assert [of_call[0].name for of_call in read(data).spans] == ["app/*", "?"]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc1", b"\x00" * 100, b"\xdd\xff\xff\xff\xff", b"\x91" * 50_000,
        msgspec.msgpack.encode({"meshware": 2, "calls": [], "spans": []}),
        msgspec.msgpack.encode([1, 2]), raw(calls=[[]]), raw(calls=[{"number": "x"}]),
        raw(spans=[[{"trace_id": 7}]]), raw(left_out=-1, calls={"a": 1}), raw(calls=5),
        b"x" * (MAX_RING_BYTES + 1),
    ],
    ids=range(13),
)  # fmt: skip
def test_what_is_no_such_file_is_none(data):
    assert decode(data, NOW) is None


@pytest.mark.parametrize(
    "said",
    [
        {"status": 1000}, {"status": -1}, {"at": float("nan")}, {"at": -1.0}, {"port": 65536},
        {"duration_s": float("inf")}, {"generation": -1}, {"generation": 2**63},
        {"rule": 2**40}, {"attempts": -1}, {"left_out": -5}, {"trace_id": "x" * 32},
        {"candidates": ("/",) * 9}, {"number": -1},
        {"tries": tuple(TryRecord(number=n + 1, endpoint="", began_s=0, duration_s=0)
                        for n in range(9))},
        {"tries": (TryRecord(number=0, endpoint="", began_s=0, duration_s=0),)},
    ],
    ids=str,
)  # fmt: skip
def test_a_call_that_cannot_be_true_is_left_out_and_others_are_not(said):
    if "number" not in said:
        said = {"number": 1, **said}
    bad = call(**said)
    data = raw(calls=[msgspec.to_builtins(bad), msgspec.to_builtins(call(2))], spans=[])
    assert [each.number for each in read(data).calls] == [2]


@pytest.mark.parametrize(
    "said",
    [
        {"trace_id": "0" * 31}, {"span_id": "G" * 16}, {"parent_id": ""}, {"kind": "internal"},
        {"status": "fine"}, {"start": float("inf")}, {"duration_s": -1.0},
        {"attributes": {str(n): n for n in range(60)}}, {"attributes": {"a": float("nan")}},
        {"attributes": {"a": 1e300}},
    ],
    ids=str,
)  # fmt: skip
def test_a_span_that_cannot_be_true_is_left_out_and_others_are_not(said):
    data = raw(spans=[[msgspec.to_builtins(span(1, **said)), msgspec.to_builtins(span(2))]])
    [[left]] = read(data).spans
    assert left.span_id == f"{2:016x}"


def test_texts_do_nothing_to_who_looks_at_them():
    """Neither a terminal's cursor nor the direction of what follows is moved."""
    evil = "\x1b[2J\u009b31m\u202etxt.exe\n\x00"
    data = raw(
        calls=[msgspec.to_builtins(call(path=evil, reason=evil, candidates=(evil,)))],
        spans=[[msgspec.to_builtins(span(name=evil, attributes={evil: evil}))]],
    )
    rings = read(data)
    [told] = rings.calls
    for text in (told.path, told.reason, told.candidates[0], rings.spans[0][0].name):
        assert text.isprintable()
        assert text == r"\x1b[2J\x9b31m\u202etxt.exe\n\x00"
    assert all(name.isprintable() for name in rings.spans[0][0].attributes)


@given(st.text())
def test_whatever_is_written_is_made_legible_and_what_is_legible_stays(text):
    assert legible(text).isprintable()
    assert legible(legible(text)) == legible(text)


def test_nothing_has_happened_in_the_future():
    """Or it would be the newest for ever."""
    rings = read(raw(calls=[msgspec.to_builtins(call(at=9e9))],
                     spans=[[msgspec.to_builtins(span(start=9e9))]]))  # fmt: skip
    assert (rings.calls[0].at, rings.spans[0][0].start) == (NOW, NOW)


def test_more_than_a_worker_writes_is_not_read():
    small = {"number": 1, "at": 1, "direction": "inbound", "outcome": "failed", "method": "",
             "host": "", "path": "", "status": 0, "reason": "", "duration_s": 0,
             "generation": 0}  # fmt: skip
    short = msgspec.to_builtins(span())
    data = raw(calls=[small] * 1000, spans=[[short] * 100] * 12)
    assert len(data) <= MAX_RING_BYTES
    rings = read(data)
    assert len(rings.calls) == MOST_CALLS
    assert sum(map(len, rings.spans)) == MOST_SPANS


@given(st.binary(max_size=300))
def test_no_bytes_make_an_error(data):
    decode(data, NOW)


@given(st.data())
def test_no_altered_file_makes_an_error(data):
    """One byte of a sound file is another."""
    whole = bytearray(file_of([call(1), call(2)], [(span(1), span(2))]))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    decode(bytes(whole), NOW)
