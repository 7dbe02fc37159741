"""CEL by table: what expressions give, where they fail, and what is refused at load."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meshware.policy.cel import CelError, compile_expression, compile_filter, compile_tag
from meshware.policy.cel_attributes import ABSENT, ATTRIBUTES
from meshware.policy.cel_functions import shown

HEADERS = {"x-user": "jane", "x-count": "7"}
CALL = {
    ("request", "path"): "/shop/1?page=2",
    ("request", "url_path"): "/shop/1",
    ("request", "method"): "GET",
    ("request", "host"): "shop.default",
    ("request", "size"): 10,
    ("request", "duration"): timedelta(milliseconds=1500),
    ("request", "time"): datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    ("request", "headers"): HEADERS,
    ("response", "code"): 503,
    ("response", "flags"): 0x2 | 0x8000,
    ("connection", "mtls"): True,
    ("xds", "cluster_name"): "PassthroughCluster",
}
NODE = {"id": "app.shop", "metadata": {"NAMESPACE": "shop", "LABELS": {"app": "web"}}}


def look_up(path):
    """The attributes of one call, of which some are not known."""
    value = CALL[path[:2]]
    for name in path[2:]:
        value = value[name.lower()]
    return value


def value_of(text):
    """What an expression gives of that call."""
    return compile_expression(text, NODE)(look_up)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # Literals.
        ("1", 1),
        ("0x1F", 31),
        ("7u", 7),
        ("-5", -5),
        ("-9223372036854775808", -(2**63)),
        ("1.5e3", 1500.0),
        (".5", 0.5),
        ("'a' + \"b\"", "ab"),
        (r"'\u00e4\n\x41\101\\'", "ä\nAA\\"),
        (r"r'\d'", r"\d"),
        ("'''a\n'b''' ", "a\n'b"),
        (r"b'\xff'", b"\xff"),
        ("b'ä'", "ä".encode()),
        ("true", True),
        ("null", None),
        ("[1, 'a',]", (1, "a")),
        ("{'a': 1}['a']", 1),
        ("{'a': {'b': 2}}.a.b", 2),
        ("{true: 'yes', 1: 'one'}[1]", "one"),
        ("// a comment\n 1 // another", 1),
        # Precedence and arithmetic.
        ("1 + 2 * 3 - 4", 3),
        ("(1 + 2) * 3", 9),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("7.0 / 2.0", 3.5),
        ("1.0 / 0.0 > 1.0", True),
        ("- -3", 3),
        ("true || false && false", True),
        ("!true == false", True),
        ("1 < 2 == true", True),
        ("[1] + [2]", (1, 2)),
        # Comparison.
        ("1 == 1.0 && 1u == 1", True),
        ("1 == '1'", False),
        ("null == null", True),
        ("[1, 2] == [1.0, 2u]", True),
        ("{'a': 1} == {'a': 1.0}", True),
        ("true == 1", False),
        ("'a' < 'b' && b'a' < b'b' && false < true", True),
        ("1 < 1.5 && 2u > 1", True),
        ("double('nan') == double('nan')", False),
        ("2 in [1, 2.0]", True),
        ("'a' in {'a': 1}", True),
        ("'b' in {'a': 1}", False),
        # Attributes.
        ("request.method", "GET"),
        ("request['method']", "GET"),
        ("request.headers['X-User']", "jane"),
        ("request.headers.x_none == 'a' || true", True),
        ("request.headers[':path']", "/shop/1?page=2"),
        ("request.headers[':method'] == 'GET'", True),
        ("request.headers['x-' + 'user']", "jane"),
        ("response.code >= 400 && xds.cluster_name == 'PassthroughCluster'", True),
        ("response.flags", 0x8002),
        ("connection.mtls ? 'mtls' : 'plain'", "mtls"),
        ("xds.node.metadata['NAMESPACE']", "shop"),
        ("xds.node.metadata.LABELS.app == 'web'", True),
        # has() and what users write with it.
        ("has(request.headers['x-user']) ? request.headers['x-user'] : 'none'", "jane"),
        ("has(request.headers['x-none']) ? request.headers['x-none'] : 'none'", "none"),
        ("has(request.headers.xnone)", False),
        ("has(request.id)", False),
        ("has(request.host)", True),
        ("'x-user' in request.headers", True),
        ("'x-none' in request.headers ? 1 : 2", 2),
        ("has({'a': 1}.a)", True),
        ("has({'a': 1}.b)", False),
        ("has(xds.node.metadata['NO'])", False),
        # Functions and methods.
        ("request.url_path.startsWith('/shop')", True),
        ("request.url_path.endsWith('/1')", True),
        ("request.host.contains('.')", True),
        ("request.path.matches('^/shop/[0-9]+')", True),
        ("request.path.matches('page')", True),
        ("request.path.matches('^page')", False),
        ("request.path.matches('(?i)SHOP')", True),
        ("'a\\nb'.matches('b$')", True),
        ("request.method.lowerAscii() + 'x'.upperAscii()", "getX"),
        ("size('äb') + size([1, 2]) + size({'a': 1}) + 'abc'.size()", 8),
        ("int(request.headers['x-count']) > 5", True),
        ("int(3.9) + int(-3.9) + int(7u)", 7),
        ("uint('8')", 8),
        ("double('1.5') + double(1)", 2.5),
        ("string(response.code)", "503"),
        ("string(1.0) + string(1.5) + string(true)", "11.5true"),
        ("string(request.duration)", "1.5s"),
        ("string(request.time)", "2026-01-02T03:04:05Z"),
        ("string(b'abc')", "abc"),
        ("bool('true')", True),
        ("request.duration > duration('500ms')", True),
        ("request.duration.getMilliseconds()", 1500),
        ("duration('-1m') < duration('0s')", True),
        ("request.time > timestamp('2026-01-02T00:00:00+01:00')", True),
        ("request.time - timestamp('2026-01-02T03:00:05Z') == duration('4m')", True),
        ("request.time.getHours() + request.time.getMonth() + request.time.getDayOfWeek()", 8),
        ("int(timestamp('1970-01-01T00:01:00.5Z'))", 60),
        ("timestamp(60) == timestamp('1970-01-01T00:01:00Z')", True),
    ],
)  # fmt: skip
def test_an_expression_gives_a_value(text, value):
    """As the specification of CEL says."""
    found = value_of(text)
    assert found == value
    assert isinstance(found, bool) == isinstance(value, bool)


FAILS = "request.headers['x-none'] == 'a'"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (f"{FAILS} || true", True),
        (f"true || {FAILS}", True),
        (f"{FAILS} && false", False),
        (f"false && {FAILS}", False),
        (f"false || {FAILS} || true", True),
        ("1 / 0 == 1 || true", True),
        (f"false && ({FAILS} || 1 / 0 == 0)", False),
        (f"{FAILS} || false", KeyError),
        (f"{FAILS} && true", KeyError),
        (f"{FAILS} || 1 / 0 == 1", ValueError),
        (f"!({FAILS})", KeyError),
        (f"{FAILS} ? 1 : 2", KeyError),
        (f"true ? 1 : int({FAILS} ? 'a' : 'b')", 1),
        ("{'a': 1}.a || true", True),
        ("{'a': 1}.a || false", TypeError),
        ("{'a': 1}.a ? 1 : 2", TypeError),
        ("request.id", KeyError),
        ("request.headers['x-none']", KeyError),
        ("xds.node.metadata['NO']", KeyError),
        ("{'a': 1}['b']", KeyError),
        ("[1][1]", ValueError),
        ("[1][-1]", ValueError),
        ("[1][{'a': 'b'}.a]", TypeError),
        ("{'a': 'b'}.a + 1", TypeError),
        ("9223372036854775807 + 1", ValueError),
        ("0u - 1u", ValueError),
        ("-(-9223372036854775808)", ValueError),
        ("1 % 0", ValueError),
        ("int({'a': 'seven'}.a)", ValueError),
        ("int({'a': '9223372036854775808'}.a)", ValueError),
        ("int({'a': 1e300}.a)", ValueError),
        ("int(double('inf'))", ValueError),
        ("uint({'a': -1}.a)", ValueError),
        ("string({'a': b'\\xff'}.a)", ValueError),
        ("timestamp({'a': 'yesterday'}.a)", ValueError),
        ("timestamp({'a': '2026-13-02T03:04:05Z'}.a)", ValueError),
        ("timestamp('9999-12-31T00:00:00Z') + duration('9000000h')", ValueError),
        ("duration({'a': 'long'}.a)", ValueError),
        ("bool({'a': 'perhaps'}.a)", ValueError),
        ("[1] < [2]", TypeError),
        ("null < null", TypeError),
    ],
)
def test_errors_are_absorbed_where_another_side_decides(text, value):
    """`&&` and `||` whichever side fails; everything else fails with its parts."""
    if isinstance(value, type):
        with pytest.raises(value):
            value_of(text)
    else:
        assert value_of(text) is value or value_of(text) == value


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("", (1, 1), "it is empty"),
        ("1 +", (1, 4), "ends too early"),
        ("1 2", (1, 3), "there is 2 where it has no place"),
        ("12abc", (1, 3), "write an operator"),
        ("request.method = 'GET'", (1, 16), "write =="),
        ("a & b", (1, 3), "write &&"),
        ("request.method == 'GET' &&\n  request.pth == '/'", (2, 11), "did you mean request.path?"),
        ("'abc", (1, 1), "has no end"),
        (r"'\q'", (1, 2), "no escape"),
        (r"'\ud800'", (1, 2), "no such character"),
        ("9223372036854775808", (1, 1), "64 bits"),
        ("99999999999999999999999999999999999999999999", (1, 1), "64 bits"),
        ("for", (1, 1), "reserved"),
        ("request", (1, 1), "write one of request.duration"),
        ("reqest.path", (1, 1), "did you mean request?"),
        ("foo.bar", (1, 1), "write one of connection"),
        ("foo", (1, 1), "there is no attribute foo"),
        ("request.total_size > 5", (1, 9), "write request.size"),
        ("response.trailers['x']", (1, 18), "trailers are not kept"),
        ("xds.cluster_metadata", (1, 5), "there is none"),
        ("request.path.segments", (1, 14), "has no members"),
        ("request.headers['a'].b", (1, 22), "has no members"),
        ("size(request.headers) > 3", (1, 14), "not counted"),
        ("request.headers == {}", (1, 9), "not compared"),
        ("request.headers.exists(x, x == 'a')", (1, 17), "joined by ||"),
        ("[1].map(x, x)", (1, 5), "outside of the subset"),
        ("sizeof('a')", (1, 1), "did you mean size()?"),
        ("request.path.startswith('/')", (1, 14), "did you mean startsWith()?"),
        ("contains('a', 'b')", (1, 1), "write text.contains(...)"),
        ("type(1)", (1, 1), "there is no function type()"),
        ("size()", (1, 1), "takes one argument"),
        ("request.path.matches('(')", (1, 22), "the pattern cannot be used"),
        ("request.path.matches('a)(b')", (1, 22), "the pattern cannot be used"),
        ("request.path.matches(r'(?=a)')", (1, 22), "the pattern cannot be used"),
        ("request.path.matches(request.host)", (1, 30), "not fixed"),
        ("response.code.startsWith('5')", (1, 10), "write string(...) around it"),
        ("response.code > '400'", (1, 15), "cannot compare an int and a string"),
        ("request.path + response.code", (1, 14), "write string(...) around the int"),
        ("1 + request.path", (1, 3), "write string(...) around the int"),
        ("request.path - 1", (1, 14), "write int(...) around the text"),
        ("request.headers['x'] * 2", (1, 22), "write int(...) around the text"),
        ("-request.path", (1, 10), "- is for int and double and duration, and this is a string"),
        ("-request.headers['x']", (1, 17), "write int(...) around it"),
        ("-request.time", (1, 10), "this is a timestamp"),
        ("-1u", (1, 2), "write int(...) around it"),
        ("1 + 1u", (1, 3), "write int(...) around the uint"),
        ("1 + 1.5", (1, 3), "write double(...) around the int"),
        ("1.5 % 2.0", (1, 5), "write two values of one kind: int or uint"),
        ("request.duration * 2", (1, 18), "write two values of one kind: double, int or uint"),
        ("request.time + request.time", (1, 14), "+ cannot take a timestamp and a timestamp"),
        ("request.duration - request.time", (1, 18), "cannot take a duration and a timestamp"),
        ("request.time + 5", (1, 14), "duration('1.5s')"),
        ("'a' - xds.node['none']", (1, 5), "- cannot take a string;"),
        ("(request.time - request.time) + 'a'", (1, 31), "cannot take a duration and a string"),
        ("(request.duration + request.time) > duration('1s')", (1, 35), "cannot compare"),
        ("request.path && true", (1, 9), "&& is for bool"),
        ("!request.path", (1, 10), "! is for bool"),
        ("has(request)", (1, 5), "write has(request.headers['x'])"),
        ("has(1)", (1, 5), "write has(request.headers['x'])"),
        ("'a' in 'abc'", (1, 5), "nothing in it"),
        ("{'a': 1, 'a': 2}", (1, 1), "one key twice"),
        ("{1.5: 2}", (1, 2), "a key is"),
        ("request.duration > duration('1 s')", (1, 29), "no duration, such as"),
        ("timestamp('yesterday')", (1, 11), "no timestamp, such as"),
        ("int('seven')", (1, 5), "no whole number"),
        ("uint(-1)", (1, 6), "64 bits"),
        ("string(null)", (1, 8), "null is no text"),
        ("(" * 40 + "1" + ")" * 40, (1, 33), "nested deeper"),
        ("!" * 40 + "true", (1, 32), "nested deeper"),
        ("1" + " + 1" * 40, (1, 127), "nested deeper"),
        ("[" * 5000, (1, 4097), "longer than 4096"),
        ("1," * 1500, (1, 1001), "more than 1000 parts"),
        ("a\u00e4", (1, 2), "has no place"),
    ],
)
def test_what_is_outside_of_the_subset_is_refused(text, place, problem):
    """With line and column, what is wrong, and what to write."""
    with pytest.raises(CelError, match="at line") as refused:
        compile_expression(text, NODE)
    assert problem in refused.value.problem
    assert (refused.value.line, refused.value.column) == place


@pytest.mark.parametrize("text", ["request.path", "1", "'a' + 'b'", "response.code"])
def test_a_filter_is_true_or_false(text):
    """What can never be is refused at load."""
    with pytest.raises(CelError, match="never true or false"):
        compile_filter(text)


@pytest.mark.parametrize(
    "text",
    [
        "request.time - timestamp('2026-01-02T03:04:04Z') == duration('1s')",
        "request.time - request.duration < request.time",
        "request.duration + request.time > request.time",
        "-request.duration < duration('0s')",
        "-response.code < 0",
        "[1] + [response.code] == [1, 503]",
        "request.path + string(response.code) == '/shop/1?page=2503'",
        "xds.node['id'] + '.x' == 'app.shop.x'",
    ],
)
def test_kinds_that_go_together_are_taken_as_what_they_give(text):
    """What arithmetic gives is of a kind of its own, and the filter is true of the call."""
    assert compile_filter(text, NODE)(look_up) is True


@pytest.mark.parametrize(
    "text", ["['a', 1, duration('1s')]", "{'a': [1, 2], 'b': {'c': true}}", "[]", "[[1], [2]]"]
)
def test_a_constant_list_or_map_is_made_once(text):
    """Calls share it, and nothing of them is asked for."""
    expression = compile_expression(text)
    assert expression(look_up) is expression(look_up)


def test_a_list_of_what_is_asked_is_made_for_each_call():
    """And one that is wrong for every call leaves the decision to the other side."""
    assert compile_expression("[request.path, 1]")(look_up) == ("/shop/1?page=2", 1)
    assert compile_filter("connection.mtls || 1 in [int('9' + '')]")(look_up) is True
    assert compile_filter("connection.mtls || 'a' in {1 + 1: 'a', 2: 'b'}")(look_up) is True


@pytest.mark.parametrize("text", ["request.headers", "[1]", "{'a': 1}", "xds.node.metadata"])
def test_a_tag_is_one_value(text):
    """What can never be written is refused at load."""
    with pytest.raises(CelError, match="write a member of it"):
        compile_tag(text, NODE)


def test_a_list_that_shows_only_then_is_no_text():
    """Nor are headers."""
    for text in ("{'a': [1]}.a", "true ? request.headers : 'a'"):
        with pytest.raises(TypeError):
            shown(compile_tag(text)(look_up))


def test_a_filter_that_may_be_either_is_taken():
    """Which of a map's members it is shows only then."""
    assert compile_filter("{'a': true}.a")(look_up) is True


def test_every_attribute_of_envoy_is_known_or_told_of():
    """No attribute is both."""
    assert not set(ATTRIBUTES) & set(ABSENT)
    for root, name in ATTRIBUTES:
        compile_expression(f"{root}.{name}")
    for root, name in ABSENT:
        with pytest.raises(CelError, match="cannot be known"):
            compile_expression(f"{root}.{name}")


# --- laws ---------------------------------------------------------------------------------------

LEAVES = st.sampled_from(
    [
        "1", "-1", "2u", "1.5", "'a'", "b'a'", "true", "false", "null", "[]", "[1, 'a']",
        "{'a': 1}", "request.path", "request.size", "request.id", "request.headers['x-user']",
        "request.duration",
        "request.headers['x-none']", "response.code", "connection.mtls", "request.time",
        "duration('5s')", "9223372036854775807", "1e308", "double('nan')", "xds.node.metadata",
        "has(request.id)", "{'a': [true, null]}.a", "request.headers", "timestamp(0)", "''",
    ]
)  # fmt: skip
OPERATORS = ["+", "-", "*", "/", "%", "<", "<=", "==", "!=", "&&", "||", "in", ">", ">="]


def _grown(inner):
    return st.one_of(
        st.tuples(inner, st.sampled_from(OPERATORS), inner).map(lambda t: f"({' '.join(t)})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} ? {t[1]} : {t[2]})"),
        inner.map(lambda t: f"!{t}"),
        inner.map(lambda t: f"-({t})"),
        st.tuples(
            st.sampled_from(["size", "int", "uint", "string", "double", "bool", "duration",
                             "timestamp"]), inner,
        ).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(inner, st.sampled_from(["contains", "startsWith", "endsWith"]), inner).map(
            lambda t: f"({t[0]}).{t[1]}({t[2]})"
        ),
        st.tuples(inner, st.sampled_from(["getHours", "size", "lowerAscii", "getDate"])).map(
            lambda t: f"({t[0]}).{t[1]}()"
        ),
        st.tuples(inner, inner).map(lambda t: f"({t[0]})[{t[1]}]"),
        st.tuples(inner, inner).map(lambda t: f"[{t[0]}, {t[1]}]"),
        st.tuples(inner, inner).map(lambda t: f"{{{t[0]}: {t[1]}}}"),
    )  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.recursive(LEAVES, _grown, max_leaves=12))
def test_what_was_taken_fails_only_as_it_may(text):
    """Expressions made by the grammar: refused with a place, or evaluated; nothing else."""
    try:
        expression = compile_expression(text, NODE)
    except CelError as error:
        assert error.line == 1
        assert 1 <= error.column <= len(text) + 1
        return
    try:
        expression(look_up)
    except (KeyError, TypeError, ValueError):
        pass


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=60), st.text(string.printable, max_size=60)))
@example("\\")
@example("'\\")
@example("'\\x")
@example('"""')
@example("0x")
@example("1e")
@example("\x00")
@example("a" * 5000)
@example("-" * 300 + "1")
@example("a." * 300 + "b")
@example("1" * 4000)
@example("\ud800")
def test_any_text_is_taken_or_refused(text):
    """Never a traceback at load."""
    try:
        compile_expression(text)
    except CelError:
        pass


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["true", "false", FAILS]), min_size=2, max_size=6),
    st.sampled_from(["&&", "||"]),
)
def test_joining_knows_no_order(parts, sign):
    """The same whatever stands first, errors included."""

    def outcome(words):
        try:
            return value_of(f" {sign} ".join(words))
        except KeyError:
            return "fails"

    assert outcome(parts) == outcome(sorted(parts)) == outcome(sorted(parts, reverse=True))


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("respnse.code >= 400", 1),
        ("true && requst.headers['x'] == 'a'", 9),
        ("request.hedders['x'] == 'a'", 9),
    ],
)
def test_the_wrong_word_of_a_path_is_where_it_is(text: str, column: int) -> None:
    with pytest.raises(CelError) as caught:
        compile_filter(text)
    assert caught.value.column == column
