"""How smoothly the dashboard draws 200 services and 2,000 edges, and what that costs the daemon.

Frames are the browser's own, of this machine's Chromium, which draws without a graphics card here.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from importlib import import_module
from pathlib import Path

from meshware.dashboard.data import Counted, Sample
from meshware.dashboard.live import Live

__all__ = ["run"]

_SUPPORT = Path(__file__).resolve().parents[1] / "tests" / "support"
_ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
_FRAMES = """seconds => new Promise(done => {
    const times = [];
    const end = performance.now() + seconds * 1000;
    const frame = now => {
        times.push(now);
        if (performance.now() < end) requestAnimationFrame(frame);
        else done(times.slice(1).map((at, i) => at - times[i]));
    };
    requestAnimationFrame(frame);
})"""
_PANS = """seconds => {
    const stage = document.querySelector('.stage');
    const send = (kind, x) => stage.dispatchEvent(new PointerEvent(kind, {
        pointerId: 1, button: 0, clientX: x, clientY: 300, bubbles: true,
    }));
    send('pointerdown', 400);
    const began = performance.now();
    const move = () => {
        const passed = performance.now() - began;
        send('pointermove', 400 + 200 * Math.sin(passed / 300));
        if (passed < seconds * 1000) requestAnimationFrame(move);
        else send('pointerup', 400);
    };
    requestAnimationFrame(move);
}"""


class _Crowd:
    """A console with as many series as a mesh of that size has."""

    def __init__(self, edges: list[dict[str, str]]) -> None:
        self._labels = [
            {
                "reporter": reporter,
                "source_canonical_service": edge["source"].partition("/")[2],
                "source_workload_namespace": edge["source"].partition("/")[0],
                "destination_service_name": edge["target"].partition("/")[2],
                "destination_service_namespace": edge["target"].partition("/")[0],
                "response_code": "200",
            }
            for edge in edges
            for reporter in ("source", "destination")
        ]
        self.count = 0

    def generation(self) -> int:
        return 1

    def counted(self) -> Counted:
        self.count += 7
        buckets = (0, 0, self.count)
        return Counted(
            [
                Sample(labels=labels, requests=self.count, durations=buckets)
                for labels in self._labels
            ]
        )


def run() -> None:
    """Print both tables."""
    sys.path.insert(0, str(_SUPPORT))
    dashboard_world = import_module("dashboard_world")
    from playwright.sync_api import sync_playwright

    world = dashboard_world.crowd()
    crowd = _Crowd(world.graph["edges"])
    live = Live(crowd, time.time)  # type: ignore[arg-type]
    live.tick()
    seconds = []
    for _ in range(20):
        counted = crowd.counted()
        began = time.process_time()
        live.tick(1, counted)
        live.view(60)
        seconds.append(time.process_time() - began)
    print(
        "\nDashboard: 200 services, 2,000 edges told by both ends\n"
        f"  a second of the daemon, CPU  {statistics.median(seconds) * 1000:.0f} ms"
    )
    chromium = shutil.which("chromium")
    if chromium is None:
        print("  no Chromium here: frames are not measured")
        return
    with dashboard_world.served(world) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(address, wait_until="domcontentloaded")
        page.locator(".edge").nth(1999).wait_for(state="attached")
        page.wait_for_timeout(2000)
        for name, script in (("live, each number new each second", None), ("and panned", _PANS)):
            if script is not None:
                page.evaluate(script, 8)
            _tell(name, page.evaluate(_FRAMES, 8))
        browser.close()


def _tell(name: str, frames: list[float]) -> None:
    ordered = sorted(frames)
    late = sum(1 for frame in frames if frame > 50)
    print(
        f"  {name}: {1000 * len(frames) / sum(frames):.0f} frames a second; median "
        f"{statistics.median(ordered):.0f} ms, p95 {ordered[int(len(ordered) * 0.95)]:.0f} ms, "
        f"longest {ordered[-1]:.0f} ms; {late} of {len(frames)} above 50 ms"
    )
