"""Text in cells: how wide it is, cut, filled, and without what a terminal would obey."""

from __future__ import annotations

import pytest

from meshware.terminal.text import cut, filled, shown, styled, width


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        pytest.param("", 0, id="nothing"),
        pytest.param("shop/reviews", 12, id="ascii"),
        pytest.param("büro", 4, id="latin"),
        pytest.param("bu\u0308ro", 4, id="a mark that combines"),
        pytest.param("店舗", 4, id="Japanese"),
        pytest.param("ﾃ", 1, id="half width"),
        pytest.param("Ａ", 2, id="full width"),
        pytest.param("🛒", 2, id="emoji"),
        pytest.param("한국", 4, id="Korean"),
    ],
)
def test_how_wide_a_text_is(text, cells):
    assert width(text) == cells


@pytest.mark.parametrize(
    ("text", "most", "left"),
    [
        pytest.param("reviews", 7, "reviews", id="it fits"),
        pytest.param("reviews", 6, "revie~", id="it does not"),
        pytest.param("reviews", 1, "~", id="one cell"),
        pytest.param("reviews", 0, "", id="no cell"),
        pytest.param("店舗店", 5, "店舗~", id="wide"),
        pytest.param("店舗店", 4, "店~", id="half of a wide one does not fit"),
        pytest.param("bu\u0308ro!", 4, "bu\u0308r~", id="a mark stays with its letter"),
    ],
)
def test_a_text_is_cut_to_a_width(text, most, left):
    assert cut(text, most) == left
    assert width(left) <= most


@pytest.mark.parametrize("text", ["", "a", "reviews", "店舗店", "bu\u0308ro"])
@pytest.mark.parametrize("cells", [0, 1, 2, 3, 4, 5, 8])
def test_a_cell_is_just_as_wide_as_it_is_to_be(text, cells):
    assert width(filled(text, cells)) == cells
    assert width(filled(text, cells, is_right=True)) == cells


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        pytest.param("shop/reviews", r"shop/reviews", id="as it is"),
        pytest.param("\x1b]0;owned\x07", r"\x1b]0;owned\x07", id="a title"),
        pytest.param("\x1b[2J", r"\x1b[2J", id="clear the screen"),
        pytest.param("\x9b2J", r"\x9b2J", id="the same in one byte"),
        pytest.param("a\r\nb\tc\x08\x7f", r"a\r\nb\tc\x08\x7f", id="other controls"),
        pytest.param("a\u202eb", r"a\u202eb", id="written backwards"),
        pytest.param("a\u200db\ufeff", r"a\u200db\ufeff", id="no width"),
        pytest.param("a\u2028b", r"a\u2028b", id="a line end of Unicode"),
        pytest.param("a\ud800b", r"a\ud800b", id="half a character"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text, safe):
    assert shown(text) == safe


def test_what_an_encoding_has_not_is_escaped_before_it_is_measured():
    assert shown("büro", "ascii") == r"b\xfcro"
    assert shown("büro", "latin-1") == "büro"
    assert shown("büro", "no such encoding") == r"b\xfcro"


def test_a_text_without_end_is_cut_however_little_it_takes_up():
    assert len(shown("e" + "\u0301" * 100_000)) <= 300


def test_a_style_ends_with_its_text():
    assert styled("x", "1;31") == "\x1b[1;31mx\x1b[0m"
    assert styled("x", "") == "x"
