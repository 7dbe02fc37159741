r"""The seeds of the fuzz targets, as they lie in `tests/fuzz/seeds`: a line each, or a block.

In a `.txt` file each line is one seed, with Python's escapes (`\n`, `\x00`); lines that begin with
`#` and a blank say why the seeds below them are there. In a `.yaml` file seeds stand between lines
of `=====`.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["SEEDS", "seeds_of"]

SEEDS = Path(__file__).resolve().parents[1] / "fuzz" / "seeds"


def seeds_of(target: str) -> list[bytes]:
    """Return the seeds of a target."""
    blocks = SEEDS / f"{target}.yaml"
    if blocks.exists():
        return [part.encode() for part in blocks.read_text(encoding="utf-8").split("=====\n")]
    lines = (SEEDS / f"{target}.txt").read_text(encoding="utf-8").splitlines()
    return [
        line.encode("ascii").decode("unicode_escape").encode("latin-1")
        for line in lines
        if line and not line.startswith("# ")
    ]
