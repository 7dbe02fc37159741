"""Access log formats are read as Envoy reads them; what is wrong is told with place and remedy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshware.policy.log_format import (
    DEFAULT_LABELS,
    DEFAULT_TEXT,
    JsonFormat,
    Part,
    compile_format,
    compile_labels,
    problems_of,
    problems_of_labels,
    warnings_of,
    warnings_of_labels,
)
from meshware.policy.log_operators import ELSEWHERE, OPERATORS

READ = {
    "plain": ("plain",),
    "": ("",),
    "%DURATION%": (Part("DURATION"),),
    "a %REQ(X-A?X-B):7% b": ("a ", Part("REQ", "X-A?X-B", 7), " b"),
    "100%% of %BYTES_SENT%": ("100% of ", Part("BYTES_SENT")),
    "%%%PROTOCOL%%%": ("%", Part("PROTOCOL"), "%"),
    "%START_TIME(%s.%3f)%": (Part("START_TIME", "%s.%3f"),),
    "%START_TIME(%H:%M)% %START_TIME(%Y)%": (
        Part("START_TIME", "%H:%M"),
        " ",
        Part("START_TIME", "%Y"),
    ),
    "%REQ(:METHOD)%%RESPONSE_CODE%": (Part("REQ", ":METHOD"), Part("RESPONSE_CODE")),
    "%ENVIRONMENT(HOME):3%": (Part("ENVIRONMENT", "HOME", 3),),
    "%GRPC_STATUS(NUMBER)%": (Part("GRPC_STATUS", "NUMBER"),),
    "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(16)%": (
        Part("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "16"),
    ),
}


@pytest.mark.parametrize(("text", "parts"), READ.items(), ids=[*READ])
def test_a_format_is_text_and_operators(text, parts):
    """Two percent signs are one."""
    assert compile_format(text) == parts
    assert problems_of(text) == ()


WRONG = {
    "%RESPONSECODE%": "at character 1: there is no operator %RESPONSECODE%; write %RESPONSE_CODE%",
    "ab %NOTHING_LIKE_IT%": "at character 4: there is no operator %NOTHING_LIKE_IT%; see docs/",
    "%REQ%": "%REQ%: it needs something in brackets",
    "%REQ()%": "%REQ%: it needs something in brackets",
    "%DURATION(x)%": "%DURATION%: it takes nothing in brackets; write %DURATION%",
    "%DURATION:3%": "%DURATION%: it takes no length; remove `:3`",
    "%REQ(a):x%": "the length behind %REQ is no number",
    "%REQ:x%": "the length behind %REQ is no number",
    "%REQ(a?b?c)%": "only one alternative may be named",
    "%REQ(a b)%": "'a b' is no name of a header",
    "%REQ(a?)%": "'' is no name of a header",
    "%REQ(a\nb)%": "at character 1",
    "%req(:path)%": "names of operators are in capitals; write %REQ%",
    "100% sure": "at character 4: the percent sign begins no operator",
    "%": "at character 1: the percent sign begins no operator",
    "%DURATION": "for want of a percent sign behind it",
    "%REQ(X-A": "%REQ( is not closed",
    "%START_TIME(%Q)%": "there is no directive '%Q'",
    "%START_TIME(%n)%": "%n would begin a new line",
    "%GRPC_STATUS(WORDS)%": "write one of CAMEL_STRING, SNAKE_STRING, NUMBER",
    "%PATH(XX)%": "'XX' is none of WQ, NQ",
    "%PATH(WQ:XX)%": "'XX' is none of ORIG, PATH, ORIG_OR_PATH",
    "%REQUESTED_SERVER_NAME(SNI)%": "'SNI' is none of SNI_ONLY",
    "%COMMON_DURATION(DS_RX_BEG)%": "write START:END",
    "%COMMON_DURATION(US_CX_BEG:DS_TX_END)%": "US_CX_BEG is not seen in process",
    "%COMMON_DURATION(NOW:DS_TX_END)%": "there is no point 'NOW'",
    "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:s)%": "'s' is no precision; write ms, us or ns",
    "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(200)%": "write the length of a prefix",
    "%CEL(request.path)%": "expressions within formats are not carried out",
    "%SECRET(token)%": "would log a secret",
    "x" * 16385: "longer than 16384 characters; make it shorter",
    "%REQ(X):9999999999%": "its length is too large",
}


@pytest.mark.parametrize(("text", "told"), WRONG.items(), ids=[text[:30] for text in WRONG])
def test_what_is_wrong_is_told_with_its_place_and_a_remedy(text, told):
    """And a format that is wrong is never compiled into something else."""
    problems = problems_of(text)
    assert len(problems) == 1
    assert problems[0].startswith("at character ")
    assert told in problems[0]
    with pytest.raises(ValueError, match="at character"):
        compile_format(text)


def test_all_problems_are_told_at_once():
    """Up to the one behind which nobody can tell what is meant."""
    problems = problems_of("%A%\u00e4 %REQ% %DURATION% %B% 5% %C%")
    assert [problem.split(":")[0] for problem in problems] == [
        "at character 1", "at character 6", "at character 23", "at character 28",
    ]  # fmt: skip


@pytest.mark.parametrize("name", sorted(name for name, one in OPERATORS.items() if one.absent))
def test_an_operator_that_says_nothing_in_process_is_a_warning(name):
    """It is taken, so that a format of a sidecar's can stay as it is."""
    text = f"%{name}{'(a:b)' if OPERATORS[name].takes == 'must' else ''}%"
    if OPERATORS[name].complaint is not None and OPERATORS[name].takes == "must":
        text = f"%{name}(a)%"
    assert problems_of(text) == ()
    [warning] = warnings_of(text)
    assert warning.startswith(f"at character 1: %{name}% says nothing in process: ")


def test_a_second_line_in_a_format_is_a_warning():
    """Envoy writes it; whoever reads line by line should know."""
    assert warnings_of("a\n") == ()
    assert warnings_of("a\nb\n") == ("at character 2: here a call's entry begins another line",)


def test_the_defaults_have_neither_problems_nor_warnings():
    """They are Istio's."""
    assert problems_of(DEFAULT_TEXT) == warnings_of(DEFAULT_TEXT) == ()
    assert problems_of_labels({}) == warnings_of_labels({}) == ()
    assert problems_of_labels(DEFAULT_LABELS) == warnings_of_labels(DEFAULT_LABELS) == ()
    assert len(DEFAULT_LABELS) == 24


def test_what_is_refused_is_nothing_that_is_taken():
    """An operator is in one table alone."""
    assert set(ELSEWHERE).isdisjoint(OPERATORS)


# --- JSON -----------------------------------------------------------------------------------------


def test_labels_are_sorted_and_keep_their_types():
    """Envoy's JSON formatter always sorts, and knows more than texts."""
    compiled = compile_labels(
        {"z": "%DURATION%", "a": {"y": 1, "b": ["%PROTOCOL%", True, None, 2.0, 2.5, "text"]}}
    )
    assert list(compiled) == ["a", "z"]
    assert compiled["z"] == JsonFormat((Part("DURATION"),))
    assert compiled["a"] == {"b": (JsonFormat((Part("PROTOCOL"),)), True, None, 2, 2.5, "text"),
                             "y": 1}  # fmt: skip
    assert list(compiled["a"]) == ["b", "y"]


def test_no_labels_are_istios():
    """As `labels: {}` of a provider."""
    assert list(compile_labels({})) == sorted(DEFAULT_LABELS)


def test_problems_of_labels_name_their_field():
    """However deep it is."""
    found = problems_of_labels(
        {"a": {"b": ["%X%", math.nan]}, "c": {1, 2}, "d": {5: "x"}, "e": "%TRAILER(x)%"}
    )
    assert [path for path, _ in found] == ["a.b[0]", "a.b[1]", "c", "d"]
    assert found[0][1].startswith("at character 1: there is no operator %X%")
    assert [path for path, _ in warnings_of_labels({"e": ["%TRAILER(x)%"]})] == ["e[0]"]
    with pytest.raises(ValueError, match=r"a\.b\[0\]: at character 1"):
        compile_labels({"a": {"b": ["%X%"]}})


def test_labels_nested_without_end_are_refused():
    """One message, and no exhausted stack."""
    deep: object = "x"
    for _ in range(5000):
        deep = {"a": deep}
    [(_, told)] = problems_of_labels({"a": deep})
    assert "make it flatter" in told


@given(st.text(alphabet=st.sampled_from("%ABCREQ_DURATION():?0123 x\n\u00e4"), max_size=60))
def test_any_text_is_compiled_or_has_problems(text):
    """Never both, never an exception of another kind."""
    if problems_of(text):
        with pytest.raises(ValueError, match="at character"):
            compile_format(text)
    else:
        assert compile_format(text)
    warnings_of(text)


def test_a_length_that_is_no_number_is_named_and_swallows_no_operator() -> None:
    found = problems_of("%REQ()% %REQ(X):abc% %START_TIME(%Q)% %NOPE%")
    assert len(found) == 4
    assert found[1].startswith("at character 9: %REQ%: its length `:abc` is no number")
    assert found[2].startswith("at character 22: %START_TIME%")
    assert found[3].startswith("at character 39: ")
