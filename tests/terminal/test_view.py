"""The table on a screen: every size, every name, and what each key does."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from dashboard_made import crowd, edge, node, shop

from meshware.terminal.edges import chosen, read_edges
from meshware.terminal.table import edge_table, summary
from meshware.terminal.text import width
from meshware.terminal.view import Quit, View, frame, pressed

STYLE = re.compile(r"\x1b\[[0-9;]*m")
HOSTILE = [
    "\x1b[2Jx",
    "店舗" * 30,
    "a" * 300,
    "\u202eevil",
    "e\u0301" * 40,
    "🛒",
    "\r\n\t",
    "b\x9bc",
]


def edges_of(world):
    """What a daemon of a world answers."""
    return read_edges(json.dumps(world.graph).encode())


def hostile():
    """A mesh of services whose names somebody chose to do harm."""
    world = shop()
    nodes = [node(name, namespace=name) for name in HOSTILE]
    edges = [edge(n["id"], m["id"], 1, 5) for n, m in zip(nodes, nodes[1:], strict=False)]
    world.graph |= {"nodes": nodes, "edges": edges}
    return world


def plain(line: str) -> str:
    """A line without styles."""
    return STYLE.sub("", line)


def test_the_table_tells_rates_errors_latencies_attempts_and_mtls():
    rows = chosen(edges_of(shop()).edges, sort="errors")[:2]
    assert edge_table(rows, sort="errors") == [
        "SOURCE             DESTINATION               RATE/s  ERRORS*     P50    P95    P99  TRIES"
        "  MTLS  HEALTH",
        "checkout/cart      checkout/payments            6.1      27%  517 ms  1.2 s  2.1 s   1.54"
        "  yes   failing",
        "checkout/payments  outside/api.bank.example     6.0      20%  492 ms  1.2 s  2.0 s   1.40"
        "  no    failing",
    ]


def test_what_is_not_known_is_a_dash():
    [row] = edges_of(shop()).edges[:1]
    bare = {"p50_ms": None, "p95_ms": None, "p99_ms": None, "mtls": None}
    world = shop()
    world.graph["edges"] = [world.graph["edges"][0] | bare | {"attempts_rate": 0}]
    [row] = edges_of(world).edges
    assert edge_table([row])[1].split()[2:] == ["42", "0.2%", "-", "-", "-", "-", "-", "healthy"]


@pytest.mark.parametrize("world", [shop, crowd, hostile], ids=lambda make: make.__name__)
@pytest.mark.parametrize("columns", [1, 2, 5, 10, 20, 30, 40, 55, 80, 100, 200])
@pytest.mark.parametrize("lines", [1, 2, 3, 4, 5, 24])
@pytest.mark.parametrize("is_coloured", [True, False], ids=["coloured", "plain"])
def test_a_frame_fits_its_screen_whatever_is_in_it(world, columns, lines, is_coloured):
    """No line is wider than the screen, and no control character is in it but styles of ours."""
    made = frame(
        View(),
        edges_of(world()),
        columns=columns,
        lines=lines,
        where="127.0.0.1:15090",
        is_coloured=is_coloured,
    )
    assert len(made) == lines
    for line in made:
        assert plain(line).isprintable()
        assert width(plain(line)) <= columns


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_a_frame_can_be_written_in_the_encoding_of_its_terminal(encoding):
    for line in frame(
        View(), edges_of(hostile()), columns=80, lines=24, where="x", encoding=encoding
    ):
        line.encode(encoding)


@pytest.mark.parametrize(
    ("columns", "heads"),
    [
        (110, ["SOURCE", "DESTINATION", "RATE/s*", "ERRORS", "P50", "P95", "P99", "TRIES", "MTLS",
               "HEALTH"]),
        (80, ["SOURCE", "DESTINATION", "RATE/s*", "ERRORS", "P50", "P95", "P99", "MTLS"]),
        (72, ["SOURCE", "DESTINATION", "RATE/s*", "ERRORS", "P95", "P99", "MTLS"]),
        (60, ["SOURCE", "DESTINATION", "RATE/s*", "ERRORS", "P95"]),
        (40, ["SOURCE", "DESTINATION", "RATE/s*", "ERRORS"]),
    ],
)  # fmt: skip
def test_with_less_room_the_least_telling_columns_are_left_out(columns, heads):
    rows = chosen(edges_of(shop()).edges)
    assert edge_table(rows, columns=columns, sort="rate")[0].split() == heads


def test_health_is_told_in_a_word_and_not_by_colour_alone():
    rows = chosen(edges_of(shop()).edges)
    coloured = edge_table(rows, columns=120, is_coloured=True)
    assert any("\x1b[1;31m" in line for line in coloured)
    said = [plain(line).rstrip() for line in coloured]
    assert said == edge_table(rows, columns=120)
    words = {line.split()[-1] for line in said[1:]}
    assert words == {"healthy", "degraded", "failing", "idle"}


def test_a_frame_says_what_is_amiss_with_it():
    edges = edges_of(shop())
    made = frame(View(), edges, columns=120, lines=24, where="x", trouble="no dashboard answers")
    assert "what you see is old: no dashboard answers" in plain(made[1])
    paused = frame(replace(View(), is_paused=True), edges, columns=120, lines=24, where="x")
    assert "PAUSED" in paused[0]
    nothing = replace(View(), namespace="nowhere")
    assert "no calls yet" in frame(nothing, edges, columns=120, lines=24, where="x")[1]


def test_a_summary_says_what_the_table_is_about():
    edges = edges_of(shop())
    assert summary(edges, 9, None) == "9 edges, over the last 60 s; generation 7"
    assert summary(edges, 1, "shop") == (
        "1 edge of namespace shop, over the last 60 s; generation 7"
    )


@pytest.mark.parametrize(
    ("keys", "view"),
    [
        pytest.param(">", {"sort": "errors"}, id="the next column"),
        pytest.param(["right"], {"sort": "errors"}, id="by arrow"),
        pytest.param("<", {"sort": "destination"}, id="the one before"),
        pytest.param(["left"] * 3, {"sort": "tries"}, id="round"),
        pytest.param(">" * 8, {}, id="all round"),
        pytest.param("r", {"is_reversed": True}, id="reversed"),
        pytest.param("rr", {}, id="twice reversed"),
        pytest.param("v", {"has_versions": True}, id="versions"),
        pytest.param("p", {"is_paused": True}, id="paused"),
        pytest.param("n", {"namespace": "checkout"}, id="a namespace"),
        pytest.param("nnn", {"namespace": "shop"}, id="the last"),
        pytest.param("nnnn", {}, id="all again"),
        pytest.param(["down"], {"first": 1}, id="down"),
        pytest.param(["down", "up", "up"], {}, id="not above the first"),
        pytest.param(["down"] * 50, {"first": 6}, id="not below the last"),
        pytest.param(["page down"], {"first": 3}, id="a page"),
        pytest.param(["end", "page up"], {"first": 3}, id="a page back"),
        pytest.param(["end"], {"first": 6}, id="the end"),
        pytest.param(["end", "home"], {}, id="the beginning"),
        pytest.param(["end", ">"], {"sort": "errors"}, id="from the top when sorted anew"),
        pytest.param("xyz?\x00", {}, id="other keys"),
    ],
)
def test_what_keys_do(keys, view):
    edges, now = edges_of(shop()), View()
    for key in keys:
        now = pressed(now, key, edges, page=3)
    assert now == replace(View(), **view)


@pytest.mark.parametrize("key", ["q", "Q", "\x03"])
def test_the_keys_that_end_it(key):
    with pytest.raises(Quit):
        pressed(View(), key, edges_of(shop()), page=3)


def test_rows_that_are_scrolled_away_make_room_for_those_below():
    edges = edges_of(shop())
    whole = frame(View(), edges, columns=120, lines=24, where="x")[3:12]
    part = frame(replace(View(), first=2), edges, columns=120, lines=7, where="x")
    assert part[3:6] == whole[2:5]
    assert "4 more below" in part[-1]
