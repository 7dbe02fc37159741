"""What `meshware status` prints for people: a line for a worker, marked where one is not well."""

from __future__ import annotations

import msgspec
import pytest

from meshware.cli.main import run
from meshware.cli.status import as_text
from meshware.policy.file import encode
from meshware.runtime.reporter import Refusal, Report
from meshware.runtime.vitals import Certificate, Vitals
from meshware.syncd.overview import Overview
from meshware.syncd.status import KeySource, Status, write_status
from meshware.syncd.workers import worker_seen

NOW_S = 2_000_000_000.0
SHOWN = Certificate(id="spiffe://a/b", from_s=NOW_S - 1800, until_s=NOW_S + 1800, source="embedded")
WELL = Vitals(
    version="0.1.0", applied_s=NOW_S - 150, certificate=SHOWN, memory_bytes=50_500_000,
    lag_s=0.003, lag_of="loop", in_flight=2,
)  # fmt: skip


def lines(*reports: Report) -> list[str]:
    """What is printed of some workers, when generation 7 is published."""
    overview = Overview(
        run_dir="run", ok=True, generation=7, published_at=None, reason=None, resources=None,
        daemon=None, refused=None, keys=(), unreadable=0,
        workers=tuple(worker_seen(report, 7, NOW_S) for report in reports),
    )  # fmt: skip
    text = as_text(overview)
    return text[text.index(next(line for line in text if line.startswith("workers"))) + 1 :]


def report(generation: int | None = 7, vitals: Vitals | None = WELL, *refusals: Refusal) -> Report:
    """A report, read."""
    return Report(
        id="0123456789abcdef", pid=4101, namespace="shop", workload="web", generation=generation,
        refusals=refusals, vitals=vitals, address="127.0.0.1", port=8000,
    )  # fmt: skip


def test_a_worker_is_a_line():
    assert lines(report()) == [
        "   workload  worker    pid   generation  age    certificate  memory    lag     calls"
        "  meshware  where",
        "   shop/web  01234567  4101  7           2 min  30 min       48.2 MiB  3.0 ms  2    "
        "  0.1.0     127.0.0.1:8000  current",
    ]


def test_a_worker_of_an_earlier_version_has_dashes():
    assert lines(report(vitals=None))[1].split()[3:] == [
        "7", "-", "-", "-", "-", "-", "-", "127.0.0.1:8000", "current",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param(report(), "current", id="well"),
        pytest.param(report(5), "2 behind", id="behind"),
        pytest.param(report(None), "waits", id="without policy"),
        pytest.param(report(7, WELL, Refusal(reason="x")), "refuses", id="refuses"),
        pytest.param(report(6, WELL, Refusal(reason="x")), "refuses, 1 behind", id="the newest"),
        pytest.param(
            report(7, Vitals(lag_s=2, lag_of="thread")), "current, threads wait", id="slow"
        ),
    ],
)
def test_what_is_amiss_ends_a_line_that_is_marked(given, said):
    line = lines(given)[1]
    assert line.endswith(f"127.0.0.1:8000  {said}")
    assert line.startswith("!") is (said != "current")


KEYS = KeySource(uri="https://id.test/keys", message="nobody answers; those fetched before go on")


@pytest.mark.parametrize("keys", [(), (KEYS,)], ids=["fetched", "not fetched"])
def test_keys_that_cannot_be_fetched_are_out_of_order(tmp_path, capsys, keys):
    """In a line, in JSON and by the exit code, though all else is well."""
    data = encode({}, generation=7, trust_domain="cluster.local")
    (tmp_path / "policy.mesh").write_bytes(data)
    started = "2026-01-01T00:00:00+00:00"
    status = Status(
        pid=1, started_at=started, ended_at=started, sources=("mesh",), state_dir="state",
        generation=7, keys=keys,
    )  # fmt: skip
    write_status(tmp_path / "status.json", status)
    asked = ["status", "--run-dir", str(tmp_path)]
    codes, texts = [], []
    for more in ([], ["--format", "json"]):
        codes.append(run([*asked, *more]))
        texts.append(capsys.readouterr().out)
    line = "keys      of https://id.test/keys cannot be fetched: nobody answers; those fetched"
    assert (line in texts[0]) is bool(keys)
    assert codes == [bool(keys)] * 2
    said = msgspec.json.decode(texts[1])
    assert said["ok"] is not bool(keys)
    assert said["keys"] == [msgspec.to_builtins(each) for each in keys]
