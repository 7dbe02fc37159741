"""Policy files for tests: written as the daemon writes them, over records as small as can be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshware.errors import PolicyError
from meshware.policy.file import Records, encode
from meshware.runtime.files import replace_file


def records_of(word: str) -> dict[str, bytes]:
    """Records of which all say the same word: a reader can tell versions apart, and mixtures."""
    return {key: b'"%s"' % word.encode() for key in ("a", "b/1", "b/2", "c")}


def write(path: Path, word: str, generation: int, *, mode: int = 0o644) -> Path:
    """Put a policy file in place."""
    data = encode(records_of(word), generation=generation, trust_domain="cluster.local")
    replace_file(path, data, mode=mode)
    return path


@dataclass(frozen=True)
class Said:
    """Stands for a snapshot: what the records said when it was built."""

    word: str
    generation: int


def build(records: Records, _previous: Any, generation: int) -> Said:
    """Make a snapshot; records that say `bad` do not compile, `bug` meets a mistake of ours."""
    words = {(records.get(key) or b"").decode().strip('"') for key in list(records.keys())}
    if words == {"bad"}:
        raise PolicyError("it does not compile")
    if words == {"bug"}:
        raise RuntimeError("a mistake")
    assert len(words) == 1, f"a mixture of versions: {words}"
    return Said(words.pop(), generation)


class Cell:
    """Where the snapshot in force is."""

    current: Any = None
