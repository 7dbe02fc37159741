"""Numbers as people read them."""

from __future__ import annotations

import pytest

from meshware.terminal import words


@pytest.mark.parametrize(
    ("say", "value", "said"),
    [
        (words.rate, None, "-"), (words.rate, 0, "0"), (words.rate, 0.01, "<0.1"),
        (words.rate, 0.4, "0.4"), (words.rate, 9.94, "9.9"), (words.rate, 9.95, "10"),
        (words.rate, 999.4, "999"), (words.rate, 999.5, "1.0k"), (words.rate, 3400, "3.4k"),
        (words.rate, 9_999.5, "10k"), (words.rate, 1e9, "1000000k"),
        (words.share, None, "-"), (words.share, 0, "0%"), (words.share, 0.0001, "<0.1%"),
        (words.share, 0.034, "3.4%"), (words.share, 0.0999, "10%"), (words.share, 1, "100%"),
        (words.ratio, None, "-"), (words.ratio, 1, "1.00"), (words.ratio, 2.345, "2.35"),
        (words.milliseconds, None, "-"), (words.milliseconds, 0, "0 ms"),
        (words.milliseconds, 0.8, "0.8 ms"), (words.milliseconds, 38.4, "38 ms"),
        (words.milliseconds, 999.6, "1.0 s"), (words.milliseconds, 1234, "1.2 s"),
        (words.milliseconds, 12_345, "12 s"),
        (words.size, None, "-"), (words.size, 0, "0 B"), (words.size, 1023, "1023 B"),
        (words.size, 1024, "1.0 KiB"), (words.size, 50_500_000, "48.2 MiB"),
        (words.size, 1_073_741_823, "1.0 GiB"), (words.size, 2**53, "8192 TiB"),
        (words.age, None, "-"), (words.age, 0, "0 s"), (words.age, 89.9, "89 s"),
        (words.age, 90, "1 min"), (words.age, 5399, "89 min"), (words.age, 5400, "1 h 30 min"),
        (words.age, 7200, "2 h"), (words.age, 172_800, "2 d"), (words.age, -5, "0 s"),
        (words.left, -1, "ended"), (words.left, 0, "ended"), (words.left, 3540, "59 min"),
    ],
)  # fmt: skip
def test_a_number_is_said_shortly(say, value, said):
    assert say(value) == said
