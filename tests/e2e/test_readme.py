"""The README's quick start, typed as it stands there, with the wheel in an empty environment."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 30.0


def quick_start() -> tuple[dict[str, str], list[str], str]:
    """The files, the commands, and the last command's output of the README's quick start."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("\n## Quick start\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)
    files = {}
    for language, code in blocks:
        if language == "python":
            name = code.splitlines()[0].removeprefix("# ")
            files[name] = code
    [console] = [code for language, code in blocks if language == "console"]
    lines = console.splitlines()
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return files, commands, lines[-1]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """meshware as users get it."""
    place = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    [built] = place.glob("*.whl")
    return built


class Shell:
    """Runs the README's commands in a directory and an environment of their own."""

    def __init__(self, place: Path, venv: Path) -> None:
        self.place = place
        self.environ = {
            name: value for name, value in os.environ.items() if not name.startswith("MESH_")
        }
        self.environ["PATH"] = f"{venv / 'bin'}:{self.environ['PATH']}"
        self.environ["XDG_STATE_HOME"] = str(place / "state-home")
        self.running: list[subprocess.Popen[bytes]] = []

    def run(self, command: str) -> None:
        """Run one line: `export`, a command, or a command in the background."""
        words = shlex.split(command)
        if words[0] == "export":
            for word in words[1:]:
                name, _, value = word.partition("=")
                self.environ[name] = value
            return
        in_background = words[-1] == "&"
        if in_background:
            words.pop()
        environ = dict(self.environ)
        while re.match(r"[A-Z_]+=", words[0]):
            name, _, value = words.pop(0).partition("=")
            environ[name] = value
        if not in_background:
            subprocess.run(
                words, cwd=self.place, env=environ, check=True, capture_output=True, timeout=60
            )
            return
        with (self.place / f"{len(self.running)}.log").open("wb") as log:
            self.running.append(
                subprocess.Popen(
                    words, cwd=self.place, env=environ, stdout=log, stderr=subprocess.STDOUT
                )
            )

    def logs(self) -> str:
        """What the background commands have said."""
        return "\n".join(
            f"{path.name}: {path.read_text(errors='replace')}"
            for path in sorted(self.place.glob("*.log"))
        )

    def stop(self) -> None:
        """End what runs."""
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answer_of(url: str, expected: object, shell: Shell) -> object:
    """Ask until the answer is as expected, or for too long: the apps have just been started.

    One that is still starting has no answer, or only a second attempt reaches it.
    """
    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                answer = json.loads(response.read())
                if answer == expected or time.monotonic() > give_up:
                    return answer
        except (OSError, urllib.error.HTTPError) as error:
            if time.monotonic() > give_up:
                pytest.fail(f"{url}: {error}\n{shell.logs()}")
        time.sleep(0.2)


def test_the_quick_start_works_with_the_wheel_in_an_empty_environment(wheel, tmp_path, engine):
    """What a newcomer types in the first five minutes does what the README says."""
    files, commands, expected = quick_start()
    venv = tmp_path / "venv"
    pip, *commands = commands
    *commands, curl = commands
    wanted = [word.replace("meshware", f"{wheel}") for word in shlex.split(pip)[2:]]
    uv = engine("uv")
    subprocess.run(
        [uv, "venv", "--quiet", "--python", sys.executable, venv], check=True, timeout=60
    )
    installed = subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", venv / "bin" / "python", *wanted],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if installed.returncode:
        reason = f"the package registry cannot be had: {installed.stderr.strip()[-500:]}"
        if os.environ.get("MESHWARE_REQUIRE_ENGINES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)

    # The README's ports may be taken on this machine.
    ports = {"8000": str(free_port()), "8001": str(free_port())}

    def here(text: str) -> str:
        return re.sub(r"\b(8000|8001)\b", lambda found: ports[found[0]], text)

    shell = Shell(tmp_path, venv)
    for name, code in files.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    try:
        for command in commands:
            shell.run(here(command.replace("meshware sync", "meshware sync --listen 127.0.0.1:0")))
            if command.startswith("meshware init"):
                for path in (tmp_path / "mesh").iterdir():
                    path.write_text(here(path.read_text(encoding="utf-8")), encoding="utf-8")
        url = here(shlex.split(curl)[1])
        assert answer_of(url, json.loads(expected), shell) == json.loads(expected)
    finally:
        shell.stop()


@pytest.mark.parametrize("name", ["web.py", "hello.py"])
def test_the_quick_start_names_its_files(name):
    """The test above would be empty if the README lost them."""
    assert name in quick_start()[0]
