"""`meshware demo --keep`: its dashboard in Chromium, while readers go on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from prometheus_client.parser import text_string_to_metric_families

PATIENCE_S = 150.0
WINDOW_S = 60.0  # that the graph's numbers are over


@pytest.fixture
def kept(tmp_path, page) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The demo's process, and the address of its dashboard."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    with (tmp_path / "out").open("wb") as out:
        demo = subprocess.Popen(
            [sys.executable, "-m", "meshware", "demo", "--keep"],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**clean, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        )
    try:
        give_up, said = time.monotonic() + PATIENCE_S, None
        while said is None:
            told = (tmp_path / "out").read_text()
            assert demo.poll() is None and time.monotonic() < give_up, told
            said = re.search(r"stays open(?s:.*)watch +(http://127\.0\.0\.1:\d+/)", told)
            time.sleep(0.2)
        yield demo, said[1]
    finally:
        page.close()  # its event stream holds the daemon otherwise
        demo.kill()
        demo.wait()


def counted(address: str) -> dict[tuple[str, str], float]:
    """Calls by who made them and whom they were for, as those who made them say."""
    with urllib.request.urlopen(f"{address}metrics", timeout=10) as answer:
        text = answer.read().decode()
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if sample.name == "istio_requests_total" and labels["reporter"] == "source":
                key = labels["source_canonical_service"], labels["destination_service_name"]
                found[key] = found.get(key, 0) + sample.value
    return found


def test_the_traffic_is_on_the_right_edges_with_the_right_rates(page, kept, complaints, tmp_path):
    """Rates are what the workers have counted meanwhile; Ctrl-C ends it and leaves nothing."""
    demo, address = kept
    page.goto(address, wait_until="domcontentloaded")
    expect(page.locator("#live")).to_have_text("live")
    before, began = counted(address), time.monotonic()
    page.wait_for_timeout((WINDOW_S + 3) * 1000)
    after, seconds = counted(address), time.monotonic() - began
    for source, target in (("productpage", "reviews"), ("reviews", "ratings")):
        rate = (after[source, target] - before[source, target]) / seconds
        assert rate > 0.1
        label = page.locator(f'.label[data-id="default/{source}->default/{target}"] text')
        shown = re.match(r"([\d.]+)/s", label.text_content() or "")
        assert shown is not None, label.text_content()
        assert float(shown[1]) == pytest.approx(rate, rel=0.25, abs=0.1)
    # Callers within the mesh are known: what is strange is the reader of the page alone.
    strange = page.locator('.label[data-id*="unknown->"]:not([data-id$="default/productpage"])')
    for each in strange.all():
        assert re.match(r"(idle|[<0.]*[01]\.?[01]?/s)", each.text_content() or ""), each
    page.get_by_role("link", name="Calls").click()
    expect(page.locator(".calls details").first).to_contain_text("403")  # strangers who knock
    page.get_by_role("link", name="Traces").click()
    expect(page.locator(".trace-list button").first).to_contain_text("span")  # of one call in five
    assert complaints == []
    page.close()
    demo.send_signal(signal.SIGINT)
    assert demo.wait(30) == 0
    assert list(tmp_path.glob("meshware-demo-*")) == []
