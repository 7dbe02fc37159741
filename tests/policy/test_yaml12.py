"""YAML by the 1.2 core rules: one meaning for every text, within limits."""

from __future__ import annotations

import math

import pytest
import yaml

from meshware.policy import yaml12
from meshware.policy.yaml12 import (
    MAX_ALIASED_NODES,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_KEY,
    MappingNode,
    ScalarNode,
    SequenceNode,
    YAMLProblem,
    from_python,
    read,
)


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def parser(request, monkeypatch):
    """Read with both of PyYAML's parsers: which of them is there must change nothing."""
    if request.param == "python":
        monkeypatch.setattr(yaml12, "_EVENTS", yaml.SafeLoader)
    elif not hasattr(yaml, "CSafeLoader"):
        pytest.skip("PyYAML is here without libyaml")


def plain(node):
    """Return what a node stands for as Python's own values."""
    if isinstance(node, MappingNode):
        return {key: plain(value) for key, (_, value) in node.items.items()}
    if isinstance(node, SequenceNode):
        return [plain(item) for item in node.items]
    return node.value


def documents(text):
    """Return the documents of a text, which must have no problem."""
    return [plain(node) for node in read(text)]


def value(text):
    """Return the value of the one scalar in a text."""
    [document] = documents(f"a: {text}\n")
    return document["a"]


def problem(text):
    """Return the one problem of a text."""
    with pytest.raises(YAMLProblem) as caught:
        list(read(text))
    return caught.value


SCALARS = {
    "no": "no",
    "No": "No",
    "yes": "yes",
    "on": "on",
    "off": "off",
    "y": "y",
    "n": "n",
    "true": True,
    "True": True,
    "TRUE": True,
    "tRUE": "tRUE",
    "false": False,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "nUll": "nUll",
    "": None,
    "0": 0,
    "12": 12,
    "-12": -12,
    "+12": 12,
    "0o14": 12,
    "0x1F": 31,
    "0b11": "0b11",
    "1_000": "1_000",
    "12:30:00": "12:30:00",
    "1:30": "1:30",
    "190:20:30.15": "190:20:30.15",
    "2024-01-01": "2024-01-01",
    "2024-01-01T10:00:00Z": "2024-01-01T10:00:00Z",
    "1e3": 1000.0,
    "1E-3": 0.001,
    "1.5": 1.5,
    "1.": 1.0,
    ".5": 0.5,
    "-.5": -0.5,
    ".": ".",
    "1.2.3": "1.2.3",
    "10.0.0.1": "10.0.0.1",
    "2001:db8::1": "2001:db8::1",
    "::1": "::1",
    "10.0.0.0/8": "10.0.0.0/8",
    ".inf": math.inf,
    "-.INF": -math.inf,
    "inf": "inf",
    "nan": "nan",
    "=": "=",
    "+": "+",
    "-x": "-x",
    "5s": "5s",
    "'12'": "12",
    '"true"': "true",
    "'~'": "~",
    '"\\u00e9"': "é",
    "'it''s'": "it's",
}


@pytest.mark.parametrize(("text", "meaning"), SCALARS.items(), ids=[repr(text) for text in SCALARS])
def test_a_scalar_means_what_the_core_schema_says(text, meaning):
    """Only the words of YAML 1.2's core schema are more than text; YAML 1.1's are text."""
    found = value(text)
    assert found == meaning
    assert type(found) is type(meaning)


def test_nan_is_a_number():
    """`.nan` is the one value that equals nothing."""
    assert math.isnan(value(".nan"))


@pytest.mark.parametrize("text", ["012", "-012", "+00", "0777", "08"])
def test_a_leading_zero_is_refused(text):
    """It is octal to some readers and decimal to others, so the author says which."""
    assert "drop the leading zero" in problem(f"a: {text}").message


@pytest.mark.parametrize(
    "text", ["9" * 50, "1e999", "-1e400", "0x" + "f" * 50], ids=["digits", "exponent", "minus", "x"]
)
def test_a_number_beyond_all_numbers_is_refused(text):
    """What no reader can hold would be infinity to one and a big number to another."""
    found = problem(f"a: {text}")
    assert "too large" in found.message
    assert len(found.message) < 200


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "'a' is there twice, first in line 1", 3),
        ("a: {b: 1, b: 2}\n", "'b' is there twice", 1),
        ("a: 1\n'a': 2\n", "'a' is there twice", 2),
        ("x: &b {a: 1}\ny:\n  <<: *b\n  c: 1\n", "merge keys", 3),
        ("'<<': 1\n", "merge keys", 1),
        ("[a]: 1\n", "a key is a list", 1),
        ("? {a: 1}\n: 1\n", "a key is a list or a mapping", 1),
        ("{: 1}\n", "write the key or the value that is missing", 1),
        ("? \n: 1\n", "a key is missing", 1),
        ("true: 1\n", "is no text; quote it", 1),
        ("null: 1\n", "is no text; quote it", 1),
        ("1.0: 1\n", "is no text; quote it", 1),
        ("0x1: 1\n", "is no text; quote it", 1),
        ("~: 1\n", "is no text; quote it", 1),
        ("a: !!str 1\n", "the tag tag:yaml.org,2002:str has no meaning here", 1),
        ("a: !!python/object/apply:os.system [ls]\n", "has no meaning here", 1),
        ("a: ! b\n", "has no meaning here", 1),
        ("a: !mine {b: 1}\n", "has no meaning here", 1),
        ("a:\n\tb: 1\n", "a tab is no indentation; use spaces", 2),
        ("a: b: c\n", "quote a text that holds ': '", 1),
        ("a: @b\n", "quote the text", 1),
        ("a: `b`\n", "quote the text", 1),
        ("a: [1, 2\n", "close the bracket", 1),
        ("a: 'x\n", "close the quote or bracket", 1),
        ('a: "\\q"\n', "use single quotes", 1),
        ("a: - b\n", "begin the list on a line of its own", 1),
        ("a:\n    b: 1\n  c: 2\n", "mend the indentation", 3),
        ("a: *b\n", "*b has no anchor before it", 1),
        ("a: &a [*a]\n", "*a has no anchor before it", 1),
        ("%YAML 1.1\n---\na: 1\n", "%YAML 1.1: this is read by the rules of 1.2", 1),
        ("a: %b\n", "quote the text", 1),
    ],
)
def test_what_could_mean_two_things_is_refused_with_a_remedy(text, words, line):
    """The message names the line and says what to do."""
    found = problem(text)
    assert words in found.message
    assert found.line == line


def test_a_whole_number_may_be_a_key():
    """A port is a natural key, and every reader makes the same text of it."""
    assert documents("8080: a\n") == [{"8080": "a"}]


def test_documents_that_are_empty_are_left_out():
    """Separators before, between and behind documents say nothing."""
    assert documents("---\n---\na: 1\n---\n# a remark\n---\nb: 2\n...\n") == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a remark\n", "---\n", "~\n", "\ufeff"])
def test_a_text_without_a_document_has_none(text):
    """Whether that is a problem is for the reader of policy to say."""
    assert documents(text) == []


def test_json_is_yaml():
    """Escapes, nesting and all that JSON has."""
    text = '{"a": [1, 2.5, "x\\u0041\\n", true, null], "b": {"c\\/d": -1e2}}'
    assert documents(text) == [{"a": [1, 2.5, "xA\n", True, None], "b": {"c/d": -100.0}}]


def test_anchors_and_aliases_stand_for_their_values():
    """Within a document; the next one begins anew."""
    assert documents("a: &x [1, {b: 2}]\nc: *x\nd: &y z\ne: *y\n") == [
        {"a": [1, {"b": 2}], "c": [1, {"b": 2}], "d": "z", "e": "z"}
    ]
    assert "has no anchor" in problem("a: &x 1\n---\nb: *x\n").message


def test_nodes_know_their_lines():
    """A key has the line it is written in, and so has a list item."""
    [node] = read("# remark\na:\n  - 1\n\n  - b: 2\nc: |\n  text\n")
    a_line, a = node.items["a"]
    assert (a_line, [item.line for item in a.items]) == (2, [3, 5])
    assert node.items["c"][0] == 6
    assert a.items[1].items["b"][0] == 5


def test_the_reading_goes_on_behind_a_spoilt_value():
    """One run tells of all that does not leave the structure in doubt, with its field."""
    told = []
    text = "a: 012\nb:\n  - c: 1\n    c: 2\n  - !x y\nd: [{e: 007}]\n"
    [node] = read(text, told.append)
    assert [(found.line, found.field) for found in told] == [
        (1, "a"),
        (4, "b[0].c"),
        (5, "b[1]"),
        (6, "d[0].e"),
    ]
    assert plain(node)["b"][0] == {"c": 1}
    assert node.items["a"][1].is_told


# --- limits -----------------------------------------------------------------------------------


def laughs(levels):
    """Return the billion laughs: each level ten times the one before."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


def test_aliases_may_stand_for_so_many_nodes_only():
    """A small text must not become a large tree."""
    found = problem(laughs(9))
    assert (found.code, found.line) == ("alias", 4)
    assert "alias" in found.message
    assert documents(laughs(3))


def test_a_long_text_counts_as_several_nodes():
    """Ten thousand aliases of one megabyte are ten gigabytes."""
    many = ", ".join(["*x"] * 1000)
    assert problem(f"a: &x {'x' * 100_000}\nb: [{many}]\n").code == "alias"
    assert documents(f"a: &x x\nb: [{many}]\n")


def test_aliases_count_across_the_documents_of_a_text():
    """Many small documents are no way around the limit."""
    one = "a: &x [" + ", ".join("y" * 100) + "]\nb: [" + ", ".join(["*x"] * 50) + "]\n"
    assert documents(one)
    assert problem("---\n".join([one] * (MAX_ALIASED_NODES // 5000))).code == "alias"


@pytest.mark.parametrize(
    "nested",
    [
        lambda depth: "[" * depth + "]" * depth,
        lambda depth: "{a: " * depth + "1" + "}" * depth,
        lambda depth: "\n".join("  " * level + "a:" for level in range(depth)) + " 1",
        lambda depth: "- " * depth + "1",
    ],
    ids=["lists", "mappings", "blocks", "dashes"],
)
def test_nesting_has_a_limit(nested):
    """Up to the limit a text is read, beyond it the message names the limit."""
    assert documents(nested(MAX_DEPTH))
    found = problem(nested(MAX_DEPTH + 1))
    assert found.code == "depth"
    assert str(MAX_DEPTH) in found.message


def test_an_alias_counts_with_its_whole_depth():
    """Depth cannot be hidden behind an anchor."""
    half = MAX_DEPTH // 2
    deep = "[" * half + "]" * half
    text = f"a: &x {deep}\nb: {'[' * half}*x{']' * half}\n"
    assert problem(text).code == "depth"


def test_hostile_nesting_is_refused_at_once():
    """A hundred thousand brackets are no recursion."""
    assert problem("[" * 100_000).code == "depth"


def test_size_has_a_limit_in_bytes():
    """Bytes count, not characters; at the limit a text is still read."""
    assert len(documents("#" * (MAX_BYTES - 5) + "\na: 1")) == 1
    assert problem(b" " * (MAX_BYTES + 1)).code == "size"
    assert problem("é" * (MAX_BYTES // 2 + 1)).code == "size"
    assert "8 MiB" in problem(b" " * (MAX_BYTES + 1)).message


def test_a_key_has_a_limit():
    """As long as YAML allows; the message cuts it."""
    assert documents(f"{{ ? {'k' * MAX_KEY} : 1}}")
    found = problem(f"{{ ? {'k' * (MAX_KEY + 1)} : 1}}")
    assert found.code == "size"
    assert len(found.message) < 200


# --- encoding ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("a: 1\n".encode("utf-16"), "UTF-16"),
        ("a: 1\n".encode("utf-16-le"), "UTF-16"),
        ("a: 1\n".encode("utf-16-be"), "UTF-16"),
        ("a: 1\n".encode("utf-32"), "UTF-16"),
        (b"a: \xff\n", "not UTF-8 at byte 3"),
        (b"a: \xc0\xaf\n", "not UTF-8"),
        (b"a: \xed\xa0\x80\n", "not UTF-8"),
        ("a: \udc80\n", "U+DC80"),
        ("a: \0\n", "U+0000"),
        ("a: \x07\n", "U+0007"),
        ("a: \x7f\n", "U+007F"),
        ("a: \x85b: 2\n", "U+0085 ends a line for some readers"),
        ("a: x\u2028y\n", "U+2028 ends a line for some readers"),
        ("a: 1\n\ufeffb: 2\n", "byte order mark within"),
        ("a: \ufffe\n", "U+FFFE"),
    ],
)
def test_what_is_not_utf8_text_is_refused(data, words):
    """The code and the message name the encoding."""
    found = problem(data)
    assert found.code == "encoding"
    assert found.message.startswith("encoding: ")
    assert words in found.message


def test_an_escape_for_half_a_character_is_refused():
    """libyaml finds it by itself, PyYAML's own parser does not."""
    assert "escape" in problem('a: "\\ud800"\n').message


def test_the_line_of_a_bad_byte_is_told():
    """Line ends of all systems count as one."""
    assert problem(b"a: 1\r\nb: 2\nc: 3\rd: \xff\n").line == 4
    assert problem("a: 1\r\nb: 2\rc: \0\n").line == 3


@pytest.mark.parametrize("data", [b"\xef\xbb\xbfa: 1\n", "\ufeffa: 1\n"], ids=["bytes", "text"])
def test_a_byte_order_mark_at_the_start_is_no_matter(data):
    """Some editors write one."""
    assert documents(data) == [{"a": 1}]


def test_letters_of_all_scripts_are_text():
    """Emoji and all: characters beyond the first 65,536 too."""
    assert documents("é: 日本\nb: '🎉'\n") == [{"é": "日本", "b": "🎉"}]


# --- Python's values --------------------------------------------------------------------------


def test_python_values_become_the_same_nodes():
    """A mapping in a test is read as the text would be."""
    given = {"a": [1, 2.5, "x", True, None], "b": {"c": ()}}
    assert plain(from_python(given)) == {"a": [1, 2.5, "x", True, None], "b": {"c": []}}


def endless():
    """Return a list that holds itself."""
    items = []
    items.append(items)
    return items


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({1: 2}, "yaml-syntax"),
        ({"a": object()}, "yaml-syntax"),
        ({"a": b"x"}, "yaml-syntax"),
        ({"a": {1, 2}}, "yaml-syntax"),
        ({"a": 1 << 70}, "yaml-syntax"),
        ({"a": "\ud800"}, "encoding"),
        ({"\udfff": 1}, "encoding"),
        (endless(), "depth"),
    ],
    ids=["key", "object", "bytes", "set", "number", "half", "half key", "endless"],
)
def test_python_values_that_yaml_has_not_are_refused(given, code):
    """The same limits hold as for text."""
    with pytest.raises(YAMLProblem) as caught:
        from_python(given)
    assert caught.value.code == code


def test_a_scalar_keeps_the_text_it_was_written_as():
    """Messages show what the author wrote, not what became of it."""
    [node] = read("a: 0x1F\n")
    assert node.items["a"][1] == ScalarNode(31, "0x1F", 1)
