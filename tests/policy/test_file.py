"""The policy file's format: what is written, what is read, and every damage that is refused."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshware.errors import PolicyFileError
from meshware.policy.file import (
    MAX_GENERATION,
    Header,
    MemoryRecords,
    PolicyIndex,
    decode,
    encode,
    parse_header,
)

RECORDS = {
    "svc/reviews.default.svc.cluster.local": b'{"claims":[]}',
    "ep/reviews.default.svc.cluster.local": b'{"byNamespace":{}}',
    "mesh": b"{}",
}
WHOLE = encode(
    RECORDS,
    generation=7,
    trust_domain="cluster.local",
    made_at="2026-01-02T03:04:05Z",
    source="mesh/",
)

GOLDEN = (
    b'{"meshware":1,"generation":7,"trust_domain":"cluster.local","records":3,'
    b'"index_sha256":"86d12159342c31530485ed2096ba3e79f07036de5e1419ad24a9fe8d0c774a45",'
    b'"made_at":"2026-01-02T03:04:05Z","source":"mesh/"}\n'
    b"ep/reviews.default.svc.cluster.local 0 18 "
    b"bd49c803d384c3c329fee63801ae0727943435cc0fff4042bda43564195b3301\n"
    b"mesh 19 2 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\n"
    b"svc/reviews.default.svc.cluster.local 22 13 "
    b"9ab10f0f885c9c17b9bb160e685330f8e0891ef8f13bba2ae0d86091e62bb844\n"
    b'{"byNamespace":{}}\n'
    b"{}\n"
    b'{"claims":[]}\n'
)


def index_of(data: bytes) -> PolicyIndex:
    """The index of a whole file."""
    head, rest = data.split(b"\n", 1)
    header = parse_header(head)
    lines = rest.split(b"\n")[: header.records]
    return PolicyIndex(header, b"".join(line + b"\n" for line in lines))


def with_index(lines: list[bytes], **changes: object) -> tuple[Header, bytes]:
    """An index of these lines, and a header that vouches for it."""
    index = b"".join(line + b"\n" for line in lines)
    fields = {
        "meshware": 1,
        "generation": 1,
        "trust_domain": "x",
        "records": len(lines),
        "index_sha256": hashlib.sha256(index).hexdigest(),
        **changes,
    }
    return Header(**fields), index


def test_the_bytes_are_what_the_format_says():
    """Readers of other versions and languages depend on every byte: this text is the format."""
    assert WHOLE == GOLDEN


def test_a_file_says_what_was_written():
    """What goes in comes out, with its header."""
    header, records = decode(WHOLE)
    assert records == RECORDS
    assert (header.generation, header.trust_domain, header.source) == (7, "cluster.local", "mesh/")


def test_the_same_records_in_another_order_are_the_same_file():
    """The bytes depend on what policy says and not on how it was gathered."""
    turned = dict(reversed(RECORDS.items()))
    again = encode(
        turned,
        generation=7,
        trust_domain="cluster.local",
        made_at="2026-01-02T03:04:05Z",
        source="mesh/",
    )
    assert again == WHOLE


keys = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=20
)
values = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)
some_records = st.dictionaries(keys, values.map(lambda value: json.dumps(value).encode()))


@given(some_records, st.integers(1, MAX_GENERATION), st.text(max_size=10))
def test_whatever_records_there_are_come_back(records, generation, trust_domain):
    """Writing and reading are each other's reverse, whole or by single look-ups."""
    data = encode(records, generation=generation, trust_domain=trust_domain)
    header, read = decode(data)
    assert read == records
    assert (header.generation, header.trust_domain) == (generation, trust_domain)
    index = index_of(data)
    assert list(index.keys()) == sorted(records)
    for key, record in records.items():
        entry = index.entry(key)
        assert (entry.length, entry.sha256) == (len(record), hashlib.sha256(record).hexdigest())
    assert index.body_bytes == sum(len(record) + 1 for record in records.values())


@given(some_records, keys)
def test_keys_by_prefix_are_those_that_begin_with_it(records, prefix):
    """A look-up by prefix agrees with the naive one, in the file and in memory."""
    expected = sorted(key for key in records if key.startswith(prefix))
    assert list(MemoryRecords(records).keys(prefix)) == expected
    assert list(index_of(encode(records, generation=1, trust_domain="x")).keys(prefix)) == expected


@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_cut_anywhere_is_refused(length):
    """A torn file is never taken for a shorter policy."""
    with pytest.raises(PolicyFileError):
        decode(WHOLE[:length])


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_no_byte_can_be_altered_unseen(position, flip):
    """Whatever one altered byte does, policy never says something else."""
    altered = bytearray(WHOLE)
    altered[position] ^= flip
    try:
        header, records = decode(bytes(altered))
    except PolicyFileError:
        return
    # Only the header's own fields can differ: it vouches for all the rest, and nobody for it.
    assert records == RECORDS
    assert position < WHOLE.index(b"\n")
    assert header.records == len(RECORDS)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\0" * 4096,
        b"{}\n",
        b"[" * 60_000 + b"\n",
        b"\xff\xfe\n",
        b"kind: VirtualService\n",
        WHOLE + b"{}\n",
        WHOLE + b"\n",
        WHOLE.replace(b'"generation":7', b'"generation":0'),
        WHOLE.replace(b'"generation":7', b'"generation":"7"'),
        WHOLE.replace(b'"generation":7', b'"generation":7.5'),
        WHOLE.replace(b'"generation":7', b'"generation":true'),
        WHOLE.replace(b'"generation":7', b'"generation":9007199254740992'),
        WHOLE.replace(b'"meshware":1', b'"meshware":0'),
        WHOLE.replace(b'"meshware":1', b'"meshware":true'),
        WHOLE.replace(b'"records":3', b'"records":2'),
        WHOLE.replace(b'"records":3', b'"records":4'),
        WHOLE.replace(b'"records":3', b'"records":-1'),
        WHOLE.replace(b'"records":3', b'"records":99999999999'),
        WHOLE.replace(b'"trust_domain":"cluster.local",', b""),
        WHOLE.replace(b"\n", b"\r\n"),
    ],
    ids=[
        "empty",
        "newline",
        "zeros",
        "no-fields",
        "nested",
        "no-utf8",
        "yaml",
        "record-behind",
        "newline-behind",
        "generation-zero",
        "generation-text",
        "generation-fraction",
        "generation-true",
        "generation-inexact",
        "format-zero",
        "format-true",
        "fewer-records",
        "more-records",
        "negative-records",
        "too-many-records",
        "no-trust-domain",
        "carriage-returns",
    ],
)
def test_what_is_no_policy_file_is_refused(data):
    """Damage of any kind is one named error, never another exception and never policy."""
    with pytest.raises(PolicyFileError):
        decode(data)


def test_a_newer_format_says_what_to_do():
    """An old worker beside a new daemon tells its operator to upgrade it."""
    with pytest.raises(PolicyFileError, match="format 2, this meshware reads 1; upgrade"):
        decode(WHOLE.replace(b'"meshware":1', b'"meshware":2'))


def test_fields_of_a_later_version_in_the_header_do_not_hurt():
    """Signatures will stand in the header; a reader that does not know them still reads."""
    header, records = decode(WHOLE.replace(b'"source"', b'"signatures":[{}],"source"'))
    assert records == RECORDS
    assert header.generation == 7


DIGEST = hashlib.sha256(b"{}").hexdigest().encode()


@pytest.mark.parametrize(
    "lines",
    [
        [b"b 0 2 " + DIGEST, b"a 3 2 " + DIGEST],
        [b"a 0 2 " + DIGEST, b"b 3 2"],
        [b"a 0 2 " + DIGEST, b"b  3 2 " + DIGEST],
        [b"a 0 2 " + DIGEST, b"b 03 2 " + DIGEST],
        [b"a 0 2 " + DIGEST, b"b -3 2 " + DIGEST],
        [b"a 0 2 " + DIGEST, b"b 3 2 " + DIGEST.upper()],
        [b"a 0 2 " + DIGEST, b"b 3 2 " + DIGEST + b" "],
    ],
    ids=["unsorted", "no-digest", "two-spaces", "leading-zero", "negative", "capitals", "trailing"],
)
def test_an_index_that_makes_no_sense_is_refused(lines):
    """A digest proves who wrote the index, not that it can be searched."""
    with pytest.raises(PolicyFileError):
        PolicyIndex(*with_index(lines))


def test_an_index_whose_digest_does_not_fit_is_refused():
    """The header vouches for the index."""
    header, index = with_index([b"a 0 2 " + DIGEST])
    with pytest.raises(PolicyFileError, match="digest"):
        PolicyIndex(header, index.replace(b" 0 2 ", b" 0 3 "))


def test_a_key_that_is_there_twice_is_refused_when_it_is_met():
    """Of two records of one name none is the right one."""
    index = PolicyIndex(*with_index([b"a 0 2 " + DIGEST, b"a 3 2 " + DIGEST]))
    with pytest.raises(PolicyFileError, match="twice"):
        index.entry("a")


@pytest.mark.parametrize("key", ["a 0", "a 0 2", "a ", "", "b", "\udc80", "A"])
def test_what_is_no_key_finds_nothing(key):
    """Keys hold names that callers dial: none of them can reach into the rest of a line."""
    index = PolicyIndex(*with_index([b"a 0 2 " + DIGEST]))
    assert index.entry(key) is None


@pytest.mark.parametrize(
    ("records", "word"),
    [
        ({"a b": b"{}"}, "not one word"),
        ({"": b"{}"}, "not one word"),
        ({"a\n": b"{}"}, "not one word"),
        ({"a\x7f": b"{}"}, "not one word"),
        ({"a": b"{\n}"}, "not one line"),
        ({"a": b""}, "not one line"),
    ],
    ids=["space", "no-key", "newline-in-key", "control", "two-lines", "no-record"],
)
def test_what_would_break_the_lines_is_not_written(records, word):
    """The writer refuses what its readers could not read."""
    with pytest.raises(ValueError, match=word):
        encode(records, generation=1, trust_domain="x")


@pytest.mark.parametrize("generation", [0, -1, MAX_GENERATION + 1])
def test_a_generation_out_of_range_is_not_written(generation):
    """Generations count from 1 and stay exact in every JSON reader."""
    with pytest.raises(ValueError, match="generation"):
        encode({}, generation=generation, trust_domain="x")


def test_records_in_memory_answer_as_those_in_a_file_do():
    """A process that compiles YAML itself and one that follows a file see the same."""
    memory, index = MemoryRecords(RECORDS), index_of(WHOLE)
    assert list(memory.keys()) == list(index.keys())
    for key, record in RECORDS.items():
        assert memory.get(key) == record
        assert memory.digest(key) == index.entry(key).sha256
    assert memory.get("svc/nobody") is None
    assert memory.digest("svc/nobody") is None
