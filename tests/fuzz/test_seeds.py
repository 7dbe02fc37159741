"""The fuzz targets on their seeds, and on small changes of each; `make fuzz` goes further."""

from __future__ import annotations

from random import Random

import pytest
from fuzz_seeds import SEEDS, seeds_of
from fuzz_targets import TARGETS

CASES = [(name, seed) for name in TARGETS for seed in seeds_of(name)]
CHANGES = 40  # of each seed; fixed by the seed, so that a failure comes again
WORDS = tuple(b'%2f %2e / \\ .. # ? , ; " _ * % : ='.split()) + (
    b" ",
    b"\t",
    b"\n",
    b"\x00",
    b"\xff",
)


def changed(seed: bytes, chance: Random) -> bytes:
    """A seed with one or two places cut, doubled, or written over."""
    data = bytearray(seed)
    for _ in range(chance.choice((1, 2))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                data[at:at] = chance.choice(WORDS)
            case 1:
                del data[at : at + chance.randrange(1, 4)]
            case 2:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case _:
                data[at:at] = data[at : at + chance.randrange(1, 9)]
    return bytes(data)


@pytest.mark.parametrize(("target", "seed"), CASES, ids=lambda one: repr(one)[:40])
def test_a_seed_and_what_is_near_to_it_breaks_no_law(target, seed):
    """The laws are in `fuzz_targets`, one function each."""
    chance = Random(seed)
    TARGETS[target](seed)
    for _ in range(CHANGES if len(seed) < 1000 else 4):
        TARGETS[target](changed(seed, chance))


def test_each_target_has_seeds_and_each_file_of_seeds_a_target():
    """A corpus that nothing reads would be forgotten."""
    assert {path.stem for path in SEEDS.iterdir()} == set(TARGETS)
    assert all(len(seeds_of(name)) >= 5 for name in TARGETS)
