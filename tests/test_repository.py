"""What lies in the repository: pins that anybody can install, and nothing of one machine."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "requirements" / "dev.txt"


def tracked() -> list[Path]:
    """The files of the repository; in an unpacked archive, those of the directories we ship."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=60
        ).stdout
        paths = [ROOT / os.fsdecode(name) for name in listed.split(b"\0") if name]
    else:
        paths = [path for path in ROOT.rglob("*") if ".venv" not in path.parts]
    return [path for path in paths if path.is_file()]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def pinned() -> dict[str, str]:
    """The version of each pinned package, by its canonical name."""
    found = {}
    for line in PINS.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*])?==([^ ;\\]+)", line):
            found[canonicalize_name(match[1])] = match[2]
    return found


def test_no_lock_file_is_kept():
    """Lock files of uv, poetry, pdm and pip record where a package came from."""
    names = {"uv.lock", "pylock.toml", "poetry.lock", "pdm.lock", "Pipfile.lock"}
    assert [path for path in tracked() if path.name in names] == []


def test_no_file_names_a_package_registry():
    """Where packages come from is each machine's own business."""
    hosts = [
        ".".join(parts)
        for parts in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("pypi", "python", "org"),
            ("npmjs", "org"),
            ("npmjs", "com"),
            ("anaconda", "org"),
            ("docker", "io"),
        )
    ]
    wrong = [
        f"{path.relative_to(ROOT)}: {host}"
        for path in tracked()
        for host in hosts
        if host in text_of(path)
    ]
    assert wrong == []


def test_no_file_names_a_directory_of_one_machine():
    """A path below somebody's home or workplace means nothing anywhere else."""
    names = "|".join(("home", "root", "work", "Users"))
    homes = re.compile(rf"(?<![\w.])/({names})/[\w.]")
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in tracked()
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if homes.search(line)
    ]
    assert wrong == []


def test_every_pin_has_hashes_and_no_place():
    """`pip install --require-hashes` takes the pins from any index that has the same files."""
    text = PINS.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|-e|--index|--extra|--find|--trusted)", text, re.MULTILINE)
    for entry in re.split(r"\n(?=[A-Za-z0-9])", text.strip()):
        head = entry.splitlines()[0]
        assert "==" in head, head
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), head


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("group", ["dependencies", *project()["optional-dependencies"]])
def test_the_pins_hold_what_the_project_asks_for(group):
    """A dependency added to pyproject.toml without `make pins` would break a fresh clone."""
    described = project()
    wanted = (
        described["dependencies"]
        if group == "dependencies"
        else described["optional-dependencies"][group]
    )
    pins = pinned()
    for line in wanted:
        requirement = Requirement(line)
        if requirement.name == "meshware":
            continue
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{line} is not pinned: run make pins"
        assert requirement.specifier.contains(version, prereleases=True), line


def test_building_needs_nothing_beyond_the_pins():
    """The set-up builds without isolation, so the build back end is a pin as well."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]
    for line in build["requires"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pinned()[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("name", [".ci/run", "scripts/find-python", "scripts/set-up"])
def test_a_script_can_be_run(name):
    """A checkout keeps the executable bit."""
    assert os.access(ROOT / name, os.X_OK)


@pytest.mark.parametrize(
    "target",
    ["demo", "test", "lint", "types", "e2e", "conformance", "fuzz", "bench", "docs"],
)
def test_make_knows_its_targets(target):
    """`make` is the only entrance."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
