"""Whatever bytes come: no server and no framework runs what policy keeps from its caller."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from inbound_drive import environ_of, http_scope
from mounts import PLACES
from wire_servers import SERVERS, Wire, serving_wire
from wire_table import ANYTHING, HEAD_ROWS, KNOWN, PATH_ROWS, Row

REFUSED = (400, 403)
# What servers answer by themselves, where they do not pass a request on.
OWN_ANSWERS = (*REFUSED, 404, 405, 414, 431, 501, 505)


@pytest.fixture(scope="module", params=list(SERVERS))
def wire(request, tmp_path_factory) -> Iterator[Wire]:
    """Each kind of server, with every app in it."""
    with serving_wire(request.param, tmp_path_factory.mktemp("wire")) as server:
        yield server


def play(wire: Wire, row: Row) -> None:
    """Send a row to the apps of a server, and look at what ran."""
    wrong = []
    known = KNOWN.get((wire.name, row.name))
    for rules, is_kept in row.never.items():
        is_answered = is_kept is ANYTHING and not row.is_everywhere
        for app in ("raw",) if is_answered else wire.apps:
            patience_s = 0.5 if known == (None, 0) else 5.0
            reply = wire.ask(f"{rules}|{app}", row.head, row.body, patience_s)
            if known is not None:
                is_wrong = (reply.status, len(reply.ran)) != known
            elif is_kept is ANYTHING:
                is_wrong = bool(reply.ran) or reply.status not in OWN_ANSWERS
            else:
                is_wrong = any(is_kept(run) for run in reply.ran)
            if is_wrong:
                wrong.append((rules, app, reply))
    for rules in row.once:
        for app in wire.apps:
            reply = wire.ask(f"{rules}|{app}", row.head, row.body)
            if reply.status != 200 or len(reply.ran) != 1:
                wrong.append((rules, app, reply))
    assert not wrong


@pytest.mark.parametrize("row", PATH_ROWS, ids=lambda row: row.name[:40])
def test_no_spelling_of_a_path_runs_what_is_kept(wire, row):
    """Under DENY of a path, of it and below, of a prefix, and under ALLOW of another."""
    play(wire, row)


@pytest.mark.parametrize("row", HEAD_ROWS, ids=lambda row: row.name)
def test_no_head_runs_what_is_kept(wire, row):
    """Hosts, headers and their twins, framing, and what claims to move a path or an address."""
    play(wire, row)


# --- what the sweep in one process (`test_path_sweep`) rests on -----------------------------------

HEAD = b"GET %s HTTP/1.1\r\nHost: app.example\r\n"
ODD = (0, 9, 10, 13, 32, 34, 35, 37, 42, 46, 47, 59, 63, 64, 92, 109, 124, 127, 128, 192, 255)
IN_PROCESS = {place.name: place for place in PLACES}


@pytest.mark.parametrize("written", ["%%%02x", "%c"], ids=["escaped", "as it is"])
def test_a_server_hands_over_what_the_sweep_tries(wire, written):
    """Byte by byte: the path and the target, or the server refuses it."""
    differ = []
    for code in range(256):
        # A query or a fragment begins there.
        if written == "%c" and (code < 33 or chr(code) in "?#%\x7f"):
            continue
        target = b"/ad" + (bytes([code]) if written == "%c" else b"%%%02x" % code) + b"min"
        reply = wire.ask("bare", HEAD % target)
        if reply.status == 400:
            continue
        text = target.decode("latin-1")
        if wire.is_asgi:
            scope = http_scope(text)
            expected = {"path": scope["path"], "target": scope["raw_path"].decode("latin-1")}
        else:
            environ = environ_of(text)
            expected = {"path": environ["PATH_INFO"], "target": environ["RAW_URI"]}
        if wire.name == "granian wsgi":
            expected["target"] = None
        found = json.loads(reply.body[reply.body.index(b"{") : reply.body.rindex(b"}") + 1])
        if wire.name == "werkzeug" and code >= 128:
            # What is no UTF-8 is lost on the way: the mesh takes it for U+FFFD, or for that byte.
            continue
        if found != {**expected, "root": ""}:
            differ.append((target, found, expected))
    assert not differ


@pytest.mark.parametrize("template", [b"/ad%%%02xmin", b"/admin%%%02x", b"/%%%02xadmin"])
def test_a_byte_in_a_path_is_decided_as_in_the_sweep(wire, template):
    """And nothing that is kept runs."""
    wrong = []
    place = IN_PROCESS["ASGI" if wire.is_asgi else "WSGI"]
    for code in ODD:
        target = template % code
        reply = wire.ask("deny below|tidy", HEAD % target)
        status, _ = place.decide("DENY", None, target.decode())
        is_kept = any(run["handler"] in ("admin", "below") for run in reply.ran)
        if is_kept or reply.status != status:
            wrong.append((target, reply, status))
    assert not wrong
