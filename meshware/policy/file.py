"""The policy file's format: one header line, the index, the records.

::

    {"meshware": 1, "generation": 7, "trust_domain": "cluster.local", "records": 2, ...}
    ep/reviews.default.svc.cluster.local 0 181 9f2c...        key offset length sha256
    svc/reviews.default.svc.cluster.local 182 143 41aa...
    {"byNamespace": ...}
    {"claims": ...}

The header names the digest of the index, and the index those of the records: a follower that has
verified both reads only what changed and what it uses. Keys are sorted, so a look-up is a binary
search over the index lines, which are split at load and parsed only when they are met. Everything
here is pure; `runtime.policy_file` opens files and `syncd.publish` writes them.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import msgspec

from meshware.errors import PolicyFileError

__all__ = [
    "FORMAT",
    "MAX_BYTES",
    "MAX_GENERATION",
    "MAX_HEADER_BYTES",
    "Header",
    "IndexEntry",
    "MemoryRecords",
    "PolicyIndex",
    "Records",
    "decode",
    "encode",
    "parse_header",
    "verified",
]

FORMAT = 1
"""The format that this version writes, and the newest that it reads."""

MAX_BYTES = 32 * 1024 * 1024
"""No policy file is larger: about 15,000 services with ten endpoints each."""

MAX_HEADER_BYTES = 64 * 1024
"""No header line is longer; signatures will stand in it."""

MAX_GENERATION = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""

_KEY = re.compile(r"[^\s\x00-\x1f\x7f]+")  # a key is one word of an index line
_LINE = re.compile(rb"([^ ]+) (0|[1-9][0-9]{0,14}) (0|[1-9][0-9]{0,14}) ([0-9a-f]{64})")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Line 1 of a policy file. Fields that this version does not know are left out."""

    meshware: int  # the format
    generation: int
    trust_domain: str
    records: int
    index_sha256: str
    made_at: str = ""
    source: str = ""

    def says_the_same(self, other: Header) -> bool:
        """Say whether two files carry the same policy, whenever and from wherever they came."""
        return (self.index_sha256, self.trust_domain) == (other.index_sha256, other.trust_domain)


class IndexEntry(msgspec.Struct, frozen=True):
    """Where one record lies, in bytes from the first one behind the index, and its digest."""

    offset: int
    length: int
    sha256: str


class Records(Protocol):
    """Records by key, however they are kept."""

    def get(self, key: str) -> bytes | None:
        """Return a record, verified; None when there is none.

        Raises:
            PolicyFileError: the record does not fit its digest.
        """
        ...

    def digest(self, key: str) -> str | None:
        """Return the digest of a record without reading it; None when there is none."""
        ...

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with a prefix, sorted."""
        ...


def encode(
    records: Mapping[str, bytes],
    *,
    generation: int,
    trust_domain: str,
    made_at: str = "",
    source: str = "",
) -> bytes:
    """Return the bytes of a policy file.

    Args:
        records: one line of JSON each, without its newline.
        generation: larger than that of every file before.
        trust_domain: the mesh's own.
        made_at: ISO 8601, UTC.
        source: where the policy came from, for people.

    Raises:
        ValueError: a key or record cannot stand in a line, or the generation is out of range.
    """
    if not 1 <= generation <= MAX_GENERATION:
        raise ValueError(f"generation {generation} is not from 1 to {MAX_GENERATION}")
    index, body, offset = [], [], 0
    for key in sorted(records):  # code points sort as their UTF-8 bytes do
        record = records[key]
        if not _KEY.fullmatch(key):
            raise ValueError(f"record key {key!r} is not one word")
        if b"\n" in record or not record:
            raise ValueError(f"record {key} is not one line")
        digest = hashlib.sha256(record).hexdigest()
        index.append(f"{key} {offset} {len(record)} {digest}\n")
        body.append(record)
        offset += len(record) + 1
    index_bytes = "".join(index).encode()
    header = Header(
        meshware=FORMAT,
        generation=generation,
        trust_domain=trust_domain,
        records=len(records),
        index_sha256=hashlib.sha256(index_bytes).hexdigest(),
        made_at=made_at,
        source=source,
    )
    lines = [msgspec.json.encode(header), b"\n", index_bytes]
    for record in body:
        lines += (record, b"\n")
    return b"".join(lines)


def parse_header(line: bytes) -> Header:
    """Return the header of a policy file.

    Args:
        line: the first line, without its newline.

    Raises:
        PolicyFileError: it is no header, or of a newer format than this version reads.
    """
    try:
        loose: Any = msgspec.json.decode(line)
        version = loose.get("meshware") if isinstance(loose, dict) else None
        if isinstance(version, int) and version > FORMAT:
            raise PolicyFileError(
                f"the policy file has format {version}, this meshware reads {FORMAT}; upgrade it"
            )
        header = msgspec.convert(loose, Header)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PolicyFileError(f"the first line is not the header of a policy file: {error}") from (
            None
        )
    if (
        header.meshware != FORMAT
        or not 1 <= header.generation <= MAX_GENERATION
        or not 0 <= header.records <= MAX_BYTES
        or not _DIGEST.fullmatch(header.index_sha256)
    ):
        raise PolicyFileError("the header of the policy file makes no sense")
    return header


class PolicyIndex:
    """The index of a policy file: verified as a whole, its lines parsed when they are met.

    Attributes:
        header: of the same file.
        body_bytes: how many bytes of records follow the index, newlines included.
    """

    __slots__ = ("_last", "_lines", "body_bytes", "header")

    def __init__(self, header: Header, index: bytes) -> None:
        """Verify the index against its header.

        Args:
            header: of the same file.
            index: the bytes of `header.records` lines, with their newlines.

        Raises:
            PolicyFileError: the digest, the number of lines or their order does not fit.
        """
        if hashlib.sha256(index).hexdigest() != header.index_sha256:
            raise PolicyFileError("the index of the policy file does not fit its digest")
        lines = index.split(b"\n")
        if lines.pop() or len(lines) != header.records:
            raise PolicyFileError("the index of the policy file has a wrong number of lines")
        # A space sorts before every byte of a key, so sorted lines are sorted keys. A line out of
        # place would be a record that is there and is not found.
        if sorted(lines) != lines:
            raise PolicyFileError("the index of the policy file is not sorted")
        self.header = header
        self._lines = lines
        # A record is asked for by its digest first. One tuple, so that threads see it whole.
        self._last: tuple[str, IndexEntry | None] = (" ", None)
        self.body_bytes = 0
        if lines:
            last = _parse_line(lines[-1])
            self.body_bytes = last.offset + last.length + 1

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self._lines)

    def entry(self, key: str) -> IndexEntry | None:
        """Return where a record lies; None when there is none.

        Raises:
            PolicyFileError: the line of the record makes no sense, or there are two of them.
        """
        last_key, last = self._last
        if key == last_key:
            return last
        entry = self._find(key)
        self._last = (key, entry)
        return entry

    def _find(self, key: str) -> IndexEntry | None:
        if " " in key:
            return None  # else "a 0" would be found as the beginning of the line of "a"
        start = key.encode(errors="surrogatepass") + b" "
        at = bisect_left(self._lines, start)
        if at == len(self._lines) or not self._lines[at].startswith(start):
            return None
        if at + 1 < len(self._lines) and self._lines[at + 1].startswith(start):
            raise PolicyFileError(f"the index names {key} twice")
        entry = _parse_line(self._lines[at])
        if entry.offset + entry.length >= self.body_bytes:
            raise PolicyFileError(f"the index says that {key} lies behind the end of the file")
        return entry

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with a prefix, sorted."""
        if " " in prefix:
            return
        start = prefix.encode(errors="surrogatepass")
        at = bisect_left(self._lines, start)
        while at < len(self._lines) and self._lines[at].startswith(start):
            yield self._lines[at].partition(b" ")[0].decode(errors="replace")
            at += 1


def verified(key: str, entry: IndexEntry, record: bytes) -> bytes:
    """Return the record if it is the one that the index means.

    Raises:
        PolicyFileError: it is not: the file is torn or was altered.
    """
    if len(record) != entry.length or hashlib.sha256(record).hexdigest() != entry.sha256:
        raise PolicyFileError(f"record {key} of the policy file does not fit its digest")
    return record


def decode(data: bytes) -> tuple[Header, dict[str, bytes]]:
    """Return the header and all records of a whole policy file, everything verified.

    Raises:
        PolicyFileError: the bytes are not exactly a policy file.
    """
    head, newline, rest = data.partition(b"\n")
    if not newline:
        raise PolicyFileError("the policy file has no header line")
    header = parse_header(head)
    start = 0
    for _ in range(header.records):
        start = rest.find(b"\n", start) + 1
        if start == 0:
            raise PolicyFileError("the policy file ends within its index")
    index = PolicyIndex(header, rest[:start])
    records, end = {}, start
    for key in list(index.keys()):
        entry = index.entry(key)
        if entry is None or start + entry.offset != end:
            raise PolicyFileError(f"record {key} of the policy file is not where it belongs")
        end += entry.length + 1
        if rest[end - 1 : end] != b"\n":
            raise PolicyFileError("the policy file ends within its records")
        records[key] = verified(key, entry, rest[start + entry.offset : end - 1])
    if end != len(rest):
        raise PolicyFileError("the policy file goes on behind its last record")
    return header, records


def _parse_line(line: bytes) -> IndexEntry:
    found = _LINE.fullmatch(line)
    if found is None:
        shown = line[:80].decode(errors="replace")
        raise PolicyFileError(f"the index line {shown!r} makes no sense")
    return IndexEntry(int(found[2]), int(found[3]), found[4].decode())


class MemoryRecords:
    """Records in memory: of a process that compiles YAML itself, and of tests."""

    __slots__ = ("_digests", "_keys", "_records")

    def __init__(self, records: Mapping[str, bytes]) -> None:
        self._records = dict(records)
        self._digests = {k: hashlib.sha256(v).hexdigest() for k, v in self._records.items()}
        self._keys = sorted(self._records)

    def get(self, key: str) -> bytes | None:
        """Return a record; None when there is none."""
        return self._records.get(key)

    def digest(self, key: str) -> str | None:
        """Return the digest of a record; None when there is none."""
        return self._digests.get(key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with a prefix, sorted."""
        at = bisect_left(self._keys, prefix)
        while at < len(self._keys) and self._keys[at].startswith(prefix):
            yield self._keys[at]
            at += 1
