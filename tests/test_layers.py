"""The layers of the package: who may import whom, and how light an import stays."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "meshware"

VALUES = frozenset(
    {
        "errors",
        "clock",
        "call",
        "events",
        "ids",
        "grpc",
        "authz",
        "trace",
        "typed_claims",
        "legible",
    }
)
DECISIONS = VALUES | {"identity", "policy"}
WIRING = DECISIONS | {"inbound", "outbound", "telemetry", "runtime"}

# A package (or module) of meshware, and what it may import besides itself.
MAY_IMPORT: dict[str, frozenset[str]] = {
    **dict.fromkeys(VALUES, VALUES),
    "identity": VALUES,
    "policy": VALUES | {"identity"},
    "inbound": DECISIONS,
    "outbound": DECISIONS,
    "envoy": DECISIONS,
    "telemetry": DECISIONS | {"inbound"},
    "runtime": WIRING,
    "handlers": WIRING,
    "asking": WIRING | {"clients"},
    "asgi": WIRING | {"asking", "handlers"},
    "wsgi": WIRING | {"asking", "handlers"},
    "clients": WIRING,
    "servers": WIRING,
    "ca": WIRING,
    "dashboard": WIRING,
    "testing": WIRING,
    "syncd": WIRING | {"ca", "dashboard"},
    "run": WIRING | {"asgi", "wsgi", "clients", "servers"},
    "instrumentation": frozenset({"run"}),
    "terminal": WIRING | {"dashboard"},
}
# These put everything together.
TOP = frozenset({"cli", "demo", "__init__", "__main__"})

# Packages that decide: no I/O, no clock, no chance, no threads of their own.
PURE = VALUES | {"identity", "policy", "inbound", "outbound", "envoy"}
IMPURE_MODULES = frozenset(
    {
        "asyncio", "concurrent", "http", "logging", "multiprocessing", "random", "select",
        "selectors", "signal", "socket", "socketserver", "subprocess", "time", "urllib.request",
        "aiohttp", "anyio", "django", "fastapi", "flask", "gevent", "httpx", "httpx2", "requests",
        "sniffio", "starlette", "trio", "urllib3", "uvicorn", "watchfiles", "werkzeug",
    }
)  # fmt: skip
# The exceptions, each with what it may use.
ALLOWED_IMPURE = {"clock": frozenset({"time"})}


@dataclass(frozen=True)
class Import:
    """One import statement's target."""

    module: str  # absolute, "meshware.policy.problems"
    names: tuple[str, ...]  # what `from ... import` takes; empty for `import`
    where: str  # "policy/view.py:12"


def _is_type_checking(node: ast.If) -> bool:
    test = node.test
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Walk statements at any depth, except what only a type checker sees."""
    for node in body:
        if isinstance(node, ast.If) and _is_type_checking(node):
            yield from _statements(node.orelse)
            continue
        yield node
        for name in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(node, name, []))
        for handler in getattr(node, "handlers", []):
            yield from _statements(handler.body)
        for case in getattr(node, "cases", []):
            yield from _statements(case.body)


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of a file, lazy ones included."""
    relative = path.relative_to(PACKAGE)
    package = ["meshware", *relative.parts[:-1]]
    for node in _statements(ast.parse(path.read_text(encoding="utf-8")).body):
        where = f"{relative}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, (), where)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            yield Import(module, tuple(alias.name for alias in node.names), where)


def unit_of(path: Path) -> str:
    """The package or module directly below meshware/ that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def targets(found: Import) -> Iterator[tuple[str, ...]]:
    """The parts, below meshware, of what an import of ours reaches."""
    parts = tuple(found.module.split("."))
    if parts[0] != "meshware":
        return
    if len(parts) > 1:
        yield parts[1:]
        return
    for name in found.names:  # `from meshware import errors`, or a name that it re-exports
        if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file():
            yield (name,)
        else:
            yield ("__init__",)


FILES = sorted(PACKAGE.rglob("*.py"))
IDS = [str(path.relative_to(PACKAGE)) for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_a_package_imports_only_layers_below_it(path):
    """No upward and no sideways imports: `inbound` knows nothing of `outbound`."""
    unit = unit_of(path)
    if unit in TOP:
        return
    assert unit in MAY_IMPORT, f"meshware/{unit} has no layer: give it one here and in the design"
    allowed = MAY_IMPORT[unit] | {unit}
    wrong = [
        f"{found.where} imports {found.module}"
        for found in imports_of(path)
        for target in targets(found)
        if target[0] not in allowed
    ]
    assert not wrong


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_what_decides_reaches_no_clock_no_chance_and_no_network(path):
    """Layers 0 to 2 get time, chance and I/O from outside, so that a decision can be replayed."""
    unit = unit_of(path)
    if unit not in PURE:
        return
    forbidden = IMPURE_MODULES - ALLOWED_IMPURE.get(unit, frozenset())
    wrong = []
    for found in imports_of(path):
        root = found.module.split(".")[0]
        if found.module not in forbidden and root not in forbidden:
            continue
        if found.module == "random" and found.names == ("Random",):
            continue  # the name of the type that is handed in
        wrong.append(f"{found.where} imports {found.module}")
    assert not wrong


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_decisions_take_only_locks_from_threading(path):
    """A decision may guard its memory with a lock; it starts no thread."""
    if unit_of(path) not in PURE:
        return
    wrong = [
        f"{found.where} imports {found.module}"
        for found in imports_of(path)
        if found.module == "threading" and not set(found.names) <= {"Lock", "RLock"}
        if found.names or _uses_more_than_locks(path)
    ]
    assert not wrong


def _uses_more_than_locks(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "threading"
    }
    return not used <= {"Lock", "RLock"}


def test_a_driver_knows_nothing_of_another_driver():
    """`clients/httpx.py` and `clients/requests.py` share only what is below them."""
    drivers = {"httpx", "requests", "aiohttp", "urllib3"}
    wrong = []
    for path in sorted((PACKAGE / "clients").glob("*.py")):
        others = drivers - {path.stem}
        wrong += [
            f"{found.where} imports {found.module}"
            for found in imports_of(path)
            for target in targets(found)
            if target[0] == "clients" and (set(target[1:]) | set(found.names)) & others
        ]
    assert not wrong


# msgspec takes up typing_extensions where it is installed.
MSGSPEC = {"msgspec", "typing_extensions"}
# What each import may bring in besides the standard library and meshware itself.
LIGHT = {
    "meshware": set(),
    "meshware.call": set(),
    "meshware.errors": set(),
    "meshware.asgi": MSGSPEC,
    "meshware.wsgi": MSGSPEC,
    "meshware.cli": MSGSPEC | {"click"},
}


@pytest.mark.parametrize("module", LIGHT)
def test_an_import_brings_in_no_optional_dependency(module):
    """An app worker pays for what it uses: no HTTP client, YAML or cryptography at import."""
    assert _third_party(f"import {module}") - _third_party("") <= LIGHT[module]


def _third_party(statement: str) -> set[str]:
    """The packages outside the standard library that a fresh process has after a statement."""
    program = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
        timeout=60,
    )
    roots = {name.split(".")[0] for name in json.loads(done.stdout)}
    return {
        root
        for root in roots
        if root not in sys.stdlib_module_names and root not in {"meshware", "__main__"}
    }
