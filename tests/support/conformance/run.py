"""Play cases on both sides: over a real Envoy, and over the mesh with a real client.

Both sides use the same client library, so that both start from the same request. Cases run at the
same time, the calls of a case one after another.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpx

from conformance.cases import Call, Case, filled
from conformance.compare import IGNORED_RESPONSE_HEADERS, Played, Seen, by_name
from conformance.envoy import LOG, Envoy
from conformance.upstreams import CASE, Upstreams
from meshware.clients.httpx import AsyncMeshTransport
from meshware.events import Event, OutboundEvent
from meshware.policy.dns_records import with_names
from meshware.policy.file import MemoryRecords
from meshware.policy.load import load_text
from meshware.policy.records import build_records
from meshware.policy.telemetry_plan import LogPlan
from meshware.policy.view import Client
from meshware.telemetry.log_entry import entry_of
from meshware.telemetry.log_lines import line_maker
from meshware.telemetry.log_values import Surroundings
from meshware.testing import TestMesh

AT_ONCE = 40  # cases

_APP = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: app, namespace: default}
spec:
  metadata: {labels: {app: web, tier: front}}
  template: {serviceAccount: web, locality: $locality}
"""


@dataclass(frozen=True)
class Outcome:
    """What came of a case, on both sides."""

    envoy: Played
    mesh: Played


@dataclass(frozen=True)
class World:
    """Mesh-wide policy that some cases share, and where their client is."""

    policy: str = ""
    locality: str = "eu"

    @property
    def text(self) -> str:
        """YAML, with the client of every case."""
        return "\n---\n".join([_APP.replace("$locality", self.locality), self.policy])


async def play(
    program: Path,
    directory: Path,
    cases: Sequence[Case],
    worlds: dict[str, World] | None = None,
) -> dict[str, Outcome]:
    """Play cases, and return what came of each, by its name."""
    found: dict[str, Outcome] = {}
    async with Upstreams(directory) as upstreams:
        by_world: dict[str, list[tuple[Case, str, str]]] = {}
        for number, case in enumerate(cases):
            namespace = f"c{number}"
            text = "\n---\n".join(
                filled(p, namespace, upstreams.ports | upstreams.files) for p in case.policies
            )
            world = (worlds or {}).get(case.world, World())
            loaded = load_text("\n---\n".join([world.text, text]))
            loaded.raise_for_errors()
            upstreams.scripts[case.name] = case.script
            by_world.setdefault(case.world, []).append((case, namespace, text))
        await asyncio.gather(
            *(
                _play_world(
                    program,
                    directory / f"world-{name}",
                    world=(worlds or {}).get(name, World()),
                    members=members,
                    upstreams=upstreams,
                    found=found,
                )
                for name, members in by_world.items()
            )
        )
    return found


@dataclass(frozen=True)
class _Side:
    """Who makes the calls of a case: `envoy` or `mesh`."""

    name: str
    client: httpx.AsyncClient
    base: str  # where all calls go; "": where their URLs say
    mesh: TestMesh


async def _play_world(
    program: Path,
    directory: Path,
    *,
    world: World,
    members: Sequence[tuple[Case, str, str]],
    upstreams: Upstreams,
    found: dict[str, Outcome],
) -> None:
    text = "\n---\n".join([world.text, *(text for _, _, text in members)])
    records = MemoryRecords(with_names(build_records(load_text(text).resources)))
    mesh = TestMesh(text, workload="default/app")
    caller = Client(namespace="default", name="app")
    played: dict[str, dict[str, Any]] = {"envoy": {}, "mesh": {}}
    logged = _log_of(mesh)
    at_once = asyncio.Semaphore(AT_ONCE)
    async with Envoy(program, directory, records, caller) as envoy:
        base = f"http://127.0.0.1:{envoy.port}"
        async with (
            httpx.AsyncClient(trust_env=False, timeout=None, limits=_limits()) as plain,
            httpx.AsyncClient(transport=AsyncMeshTransport(mesh), timeout=None) as meshed,
        ):
            for client in (plain, meshed):  # no call leaves a cookie to the next
                client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

            async def both(case: Case, namespace: str) -> None:
                async with at_once:
                    played["envoy"][case.name], played["mesh"][case.name] = await asyncio.gather(
                        _play_case(_Side("envoy", plain, base, mesh), case, namespace),
                        _play_case(_Side("mesh", meshed, "", mesh), case, namespace),
                    )

            await asyncio.gather(*(both(case, namespace) for case, namespace, _ in members))
        names = {f"envoy.{c.name}.{n}" for c, _, _ in members for n in range(len(c.calls))}
        log = logged | await envoy.log(names)
    await asyncio.sleep(0.2)  # for copies of calls that nobody waits for
    for case, _, _ in members:
        sides = {
            side: _gathered(side, case, played[side][case.name], _About(upstreams, log))
            for side in ("envoy", "mesh")
        }
        found[case.name] = Outcome(envoy=sides["envoy"], mesh=sides["mesh"])


def _log_of(mesh: TestMesh) -> dict[str, dict[str, Any]]:
    """Have a mesh log as Envoy does. Returns the entries, by call, as they come."""
    found: dict[str, dict[str, Any]] = {}
    make = line_maker(LogPlan(provider="test", labels=LOG), Surroundings({}, "test"))
    before = mesh._sink

    def sink(event: Event) -> None:
        if isinstance(event, OutboundEvent) and not event.is_mirror:
            entry = json.loads(make(entry_of(event, mesh.cell.current, mesh.clock.now())))
            found[entry["call"]] = entry
        before(event)

    mesh._sink = sink
    return found


def _limits() -> httpx.Limits:
    # Envoy ends a connection whose request it answered before it had all of it.
    return httpx.Limits(max_connections=AT_ONCE * 2, max_keepalive_connections=0)


async def _play_case(side: _Side, case: Case, namespace: str) -> tuple[list[dict[str, Any]], float]:
    started = time.monotonic()
    answers = []
    for number, call in enumerate(case.calls):
        if number and case.pause_s:
            await asyncio.sleep(case.pause_s)
        name = f"{side.name}.{case.name}.{number}"
        answers.append(await _call(side, call, namespace, name))
    return answers, time.monotonic() - started


async def _call(side: _Side, call: Call, namespace: str, name: str) -> dict[str, Any]:
    host = filled(call.host, namespace, {})
    authority = host if call.port == 80 else f"{host}:{call.port}"
    headers = [("host", authority), (CASE, name)]  # an URL's host would be lower case
    headers += [(key, filled(value, namespace, {})) for key, value in call.headers]
    url = f"{side.base or f'http://{authority}'}{call.path}"
    request = side.client.build_request(
        call.method, url, headers=headers, content=call.body or None
    )
    seen: dict[str, Any] = {"status": 0, "body": b"", "headers": (), "broken": False, "raised": ""}
    try:
        response = await side.client.send(request, stream=True)
    except httpx.HTTPError as error:
        seen["raised"] = type(error).__name__
        return seen
    seen["status"], seen["headers"] = response.status_code, response.headers.multi_items()
    info = response.extensions.get("meshware")
    if info is not None:
        seen.update(flags=info.flags, attempts=info.attempts, route=info.route)
    try:
        seen["body"] = await response.aread()
    except httpx.HTTPError:
        seen["broken"] = True
    finally:
        await response.aclose()
    if info is not None and seen["broken"]:
        told = [e for e in side.mesh.events if isinstance(e, OutboundEvent) and host in e.service]
        seen["flags"] = told[-1].flags if told else info.flags
    return seen


@dataclass(frozen=True)
class _About:
    """Where the rest is told of: what came to the upstreams, and the access logs of both."""

    upstreams: Upstreams
    log: dict[str, dict[str, Any]]


def _attempts(line: dict[str, Any]) -> int:
    """How many attempts were sent: Envoy counts the one that found no endpoint or no room too."""
    count = int(line["attempts"] or 0)
    is_in_vain = line["details"] == "no_healthy_upstream" or "{overflow}" in line["details"]
    return count - 1 if is_in_vain else count


def _gathered(
    side: str, case: Case, told: tuple[list[dict[str, Any]], float], about: _About
) -> Played:
    answers, took_s = told
    calls = []
    for number, seen in enumerate(answers):
        name = f"{side}.{case.name}.{number}"
        details = ""
        line = about.log.get(name, {})
        if side == "envoy":
            details = str(line["details"])
            seen.update(flags=line["flags"], attempts=_attempts(line), route=line["route"])
        calls.append(
            Seen(
                status=seen["status"],
                body=seen["body"],
                headers=by_name(seen["headers"], IGNORED_RESPONSE_HEADERS),
                flags=seen.get("flags") or "-",
                attempts=seen.get("attempts") or 0,
                route=seen.get("route") or "",
                arrivals=tuple(about.upstreams.arrivals[name]),
                broken=seen["broken"],
                raised=seen["raised"],
                details=details,
                logged=line,
            )
        )
    return Played(calls, took_s)
