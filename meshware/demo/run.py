"""Run the demo: a shop, a daemon, edits of policy, and a table of what came of each."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from meshware.demo import policies
from meshware.demo.interrupts import Interrupts
from meshware.demo.load import Sample, fetch, knock, load
from meshware.demo.mesh import Daemon
from meshware.demo.processes import Processes
from meshware.demo.report import Report, StepReport
from meshware.demo.shop import Shop, examples_directory
from meshware.demo.steps import STEPS
from meshware.demo.traffic import Traffic
from meshware.errors import SettingsError

__all__ = ["run_demo"]

START_S = 25.0  # for every process to answer: eight of them import a framework at the same time


def run_demo(report: Report, *, keep: bool = False) -> bool:
    """Run every step. Returns whether all came out as expected.

    Args:
        report: where to tell what happens.
        keep: leave the shop running afterwards, until interrupted.

    Raises:
        SettingsError: a process did not start, or ended; the message has its last words.
    """
    began = time.monotonic()
    place = Path(tempfile.mkdtemp(prefix="meshware-demo-"))
    steps: list[StepReport] = []
    try:
        with Interrupts() as interrupts, Processes(place, interrupts) as processes:
            stage = _Stage(place, processes, report)
            stage.open()
            for step in STEPS:
                stage.current = StepReport(step.title)
                steps.append(stage.current)
                if step is STEPS[0]:
                    report.edit(stage.current)
                stage.current.rows += step.run(stage)
                if not stage.current.edits and step is not STEPS[0]:
                    report.edit(stage.current)  # its title, which comes with an edit elsewhere
                report.table(stage.current)
                processes.check()
            report.end(steps, time.monotonic() - began)
            if keep:
                _stay(stage, processes)
            else:
                report.say(
                    f"the dashboard of all this was at {stage.dashboard}; "
                    "`meshware demo --keep` leaves it open, with traffic"
                )
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return all(step.ok for step in steps)


class _Stage:
    """The running shop, as the steps see it. Source: `meshware.demo.steps.Stage`."""

    def __init__(self, place: Path, processes: Processes, report: Report) -> None:
        self.source = place / "policy"
        self.current = StepReport("")
        self._processes = processes
        self._report = report
        self._shop = Shop(processes)
        self._daemon = Daemon(self.source, place / "run", place / "state", processes)

    @property
    def dashboard(self) -> str:
        """The address of the dashboard."""
        return self._daemon.dashboard()

    @property
    def closed_port(self) -> int:
        """The port of a service that refuses whoever has no identity."""
        return self._shop.ports["ratings"]

    @property
    def page_port(self) -> int:
        """The port of the product page."""
        return self._shop.ports["productpage"]

    @property
    def good_ratings(self) -> str:
        """`address:port` of the ratings that work."""
        return f"127.0.0.1:{self._shop.ports['ratings']}"

    def open(self) -> None:
        """Write the first policy, start everything, and wait until the page comes."""
        self.source.mkdir()
        examples = examples_directory() / "policies"
        for name in ("mesh.yaml", "services.yaml", "security.yaml"):
            shutil.copyfile(examples / name, self.source / name)
        self._save("workloads.yaml", policies.workloads(self._shop.ports, ratings=("ratings",)))
        self._save("reviews.yaml", policies.V1_ONLY)
        self._save("ratings.yaml", policies.RETRIES)
        self._save("telemetry.yaml", policies.TRACED)
        self._report.say(
            "a daemon, one Flask app on gunicorn and six FastAPI apps on uvicorn, in "
            f"{self.source.parent}"
        )
        self._daemon.start()
        self._report.say(f"its dashboard is at {self.dashboard}")
        self._shop.start(self._daemon.policy_file)
        give_up = time.monotonic() + START_S
        while (seen := fetch(self.page_port)).reviews_status != 200:
            self._processes.check()
            if time.monotonic() > give_up:
                raise SettingsError(
                    f"the shop did not open within {START_S:.0f} s: the page has status "
                    f"{seen.status}, the reviews {seen.reviews_status}"
                )
            time.sleep(0.1)

    # --- what steps do ------------------------------------------------------------------------

    def edit(self, name: str, text: str) -> None:
        """Save a policy file, and wait until every process has taken the edit up."""
        before = self._daemon.generation()
        self._show_and_save(name, text)
        self._daemon.wait_until_followed(after=before)

    def remove(self, name: str) -> None:
        """Remove a policy file, and wait until every process has taken that up."""
        before = self._daemon.generation()
        path = self.source / name
        self.current.edits.append((name, path.read_text(encoding="utf-8"), ""))
        path.unlink()
        self._report.edit(self.current)
        self._daemon.wait_until_followed(after=before)

    def edit_refused(self, name: str, text: str) -> str:
        """Save a broken policy file, wait for the daemon to refuse it; return its reason."""
        self._show_and_save(name, text)
        return self._daemon.wait_until_refused()

    def ratings(self, *names: str) -> None:
        """Make these processes the endpoints of the ratings, as `edit` does."""
        self.edit("workloads.yaml", policies.workloads(self._shop.ports, ratings=names))

    def load(self, count: int, *, user: str = "") -> list[Sample]:
        """Ask for the page `count` times."""
        return load(self.page_port, count, user=user)

    def knock(self, name: str) -> str:
        """Call a workload directly, without an identity; return its answer or "no answer"."""
        return knock(self._shop.ports[name])

    def generation(self) -> int:
        """Return the generation of the policy that is published."""
        return self._daemon.generation()

    # --- inside -------------------------------------------------------------------------------

    def _show_and_save(self, name: str, text: str) -> None:
        path = self.source / name
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        self.current.edits.append((name, before, text))
        self._report.edit(self.current)
        self._save(name, text)

    def _save(self, name: str, text: str) -> None:
        """Replace a file as editors do: whole, by renaming."""
        fresh = self.source / f".{name}.new"
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, self.source / name)


def _stay(stage: _Stage, processes: Processes) -> None:
    """Leave the shop open, say what to try, and wait for Ctrl-C."""
    page = f"http://127.0.0.1:{stage.page_port}/"
    # The last step leaves a broken edit behind.
    stage.edit("reviews.yaml", policies.TESTERS)
    stage._report.say(
        f"""
The shop stays open until Ctrl-C, with readers who go on. Try:
  watch     {stage.dashboard}
  open      {page}  a few times, and {page}?user=jason
  edit      {stage.source / "reviews.yaml"}  and open it again
  see why   meshware status --run-dir {stage.source.parent / "run"}
  check     meshware check {stage.source}"""
    )
    try:
        with Traffic(stage.page_port, stage.closed_port):
            while True:
                processes.check()
                time.sleep(0.5)
    except KeyboardInterrupt:
        stage._report.say("closing the shop")
