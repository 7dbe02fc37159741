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
    "Header",
    "IndexEntry",
    "MemoryRecords",
    "PolicyIndex",
    "Records",
    "encode",
    "parse_header",
]

FORMAT = 1
"""The format that this version writes, and the newest that it reads."""

_KEY = re.compile(r"[^\s\x00-\x1f\x7f]+")  # a key is one word of an index line
_LINE = re.compile(rb"([^ ]+) (0|[1-9][0-9]{0,14}) (0|[1-9][0-9]{0,14}) ([0-9a-f]{64})")


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Line 1 of a policy file. Fields that this version does not know are kept out of it."""

    meshware: int  # the format
    generation: int
    trust_domain: str
    records: int
    index_sha256: str
    made_at: str = ""
    source: str = ""


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
        ValueError: a key or record cannot stand in a line.
    """
    index, body, offset = [], [], 0
    for key in sorted(records, key=str.encode):
        record = records[key]
        if not _KEY.fullmatch(key):
            raise ValueError(f"record key {key!r} is not one word")
        if b"\n" in record:
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
    except msgspec.MsgspecError as error:
        raise PolicyFileError(f"the first line is not the header of a policy file: {error}") from (
            None
        )
    if header.meshware != FORMAT or header.generation < 1 or header.records < 0:
        raise PolicyFileError("the header of the policy file makes no sense")
    return header


class PolicyIndex:
    """The index of a policy file: verified as a whole, its lines parsed when they are met."""

    __slots__ = ("_lines", "header")

    def __init__(self, header: Header, index: bytes) -> None:
        """Verify the index against its header.

        Args:
            header: of the same file.
            index: the bytes of `header.records` lines, with their newlines.

        Raises:
            PolicyFileError: the digest or the number of lines does not fit.
        """
        if hashlib.sha256(index).hexdigest() != header.index_sha256:
            raise PolicyFileError("the index of the policy file does not fit its digest")
        lines = index.split(b"\n")
        lines.pop()
        if len(lines) != header.records:
            raise PolicyFileError("the index of the policy file has a wrong number of lines")
        self.header = header
        self._lines = lines

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self._lines)

    def entry(self, key: str) -> IndexEntry | None:
        """Return where a record lies; None when there is none."""
        start = key.encode() + b" "
        at = bisect_left(self._lines, start)
        if at == len(self._lines) or not self._lines[at].startswith(start):
            return None
        found = _LINE.fullmatch(self._lines[at])
        if found is None:
            raise PolicyFileError(f"the index line of {key} makes no sense")
        return IndexEntry(int(found[2]), int(found[3]), found[4].decode())

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with a prefix, sorted."""
        start = prefix.encode()
        at = bisect_left(self._lines, start)
        while at < len(self._lines) and self._lines[at].startswith(start):
            yield self._lines[at].partition(b" ")[0].decode()
            at += 1


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
