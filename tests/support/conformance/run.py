"""Play cases on both sides: over a real Envoy, and over the mesh with a real client.

Both sides use the same client library, so that both start from the same request. Cases run at the
same time, the calls of a case one after another.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpx
from conformance.cases import Call, Case, filled
from conformance.compare import IGNORED_RESPONSE_HEADERS, Played, Seen, by_name
from conformance.envoy import Envoy
from conformance.upstreams import CASE, Upstreams

from meshware.clients.httpx import AsyncMeshTransport
from meshware.events import OutboundEvent
from meshware.policy.codes import NOT_SUPPORTED_YET
from meshware.policy.file import MemoryRecords
from meshware.policy.load import load_text
from meshware.policy.records import build_records
from meshware.policy.view import Client
from meshware.testing import TestMesh

AT_ONCE = 40  # cases

APP = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: app, namespace: default}
spec:
  metadata: {labels: {app: web, tier: front}}
  template: {serviceAccount: web}
"""
"""The client of every case."""


@dataclass(frozen=True)
class Outcome:
    """What came of a case: both sides, or what policy does not carry out yet."""

    envoy: Played | None = None
    mesh: Played | None = None
    awaits: str = ""


@dataclass(frozen=True)
class World:
    """Mesh-wide policy that some cases share."""

    policy: str = ""
    locality: str = ""


async def play(
    program: Path,
    directory: Path,
    cases: Sequence[Case],
    worlds: dict[str, World] | None = None,
) -> dict[str, Outcome]:
    """Play cases, and return what came of each, by its name."""
    found: dict[str, Outcome] = {}
    async with Upstreams() as upstreams:
        by_world: dict[str, list[tuple[Case, str, str]]] = {}
        for number, case in enumerate(cases):
            namespace = f"c{number}"
            text = "\n---\n".join(filled(p, namespace, upstreams.ports) for p in case.policies)
            world = (worlds or {}).get(case.world, World())
            loaded = load_text("\n---\n".join([APP, world.policy, text]))
            later = [p for p in loaded.problems if p.code == NOT_SUPPORTED_YET]
            if later:
                found[case.name] = Outcome(awaits=str(later[0]))
                continue
            loaded.raise_for_errors()
            upstreams.scripts[case.name] = case.script
            by_world.setdefault(case.world, []).append((case, namespace, text))
        await asyncio.gather(
            *(
                _play_world(
                    program,
                    directory / f"world-{name}",
                    (worlds or {}).get(name, World()),
                    members,
                    upstreams,
                    found,
                )
                for name, members in by_world.items()
            )
        )
    return found


async def _play_world(
    program: Path,
    directory: Path,
    world: World,
    members: Sequence[tuple[Case, str, str]],
    upstreams: Upstreams,
    found: dict[str, Outcome],
) -> None:
    directory.mkdir()
    text = "\n---\n".join([APP, world.policy, *(text for _, _, text in members)])
    records = MemoryRecords(build_records(load_text(text).resources))
    mesh = TestMesh(text, workload="default/app")
    caller = Client(namespace="default", name="app")
    played: dict[str, dict[str, Any]] = {"envoy": {}, "mesh": {}}
    at_once = asyncio.Semaphore(AT_ONCE)
    async with Envoy(program, directory, records, caller, world.locality) as envoy:
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
                        _play_case("envoy", plain, base, case, namespace, mesh),
                        _play_case("mesh", meshed, "", case, namespace, mesh),
                    )

            await asyncio.gather(*(both(case, namespace) for case, namespace, _ in members))
        names = {f"envoy.{c.name}.{n}" for c, _, _ in members for n in range(len(c.calls))}
        log = await envoy.log(names)
    await asyncio.sleep(0.2)  # for copies of calls that nobody waits for
    for case, _, _ in members:
        sides = {
            side: _gathered(side, case, *played[side][case.name], upstreams, log)
            for side in ("envoy", "mesh")
        }
        found[case.name] = Outcome(envoy=sides["envoy"], mesh=sides["mesh"])


def _limits() -> httpx.Limits:
    return httpx.Limits(max_connections=AT_ONCE * 2)


async def _play_case(
    side: str, client: httpx.AsyncClient, base: str, case: Case, namespace: str, mesh: TestMesh
) -> tuple[list[dict[str, Any]], float]:
    started = time.monotonic()
    answers = []
    for number, call in enumerate(case.calls):
        if number and case.pause_s:
            await asyncio.sleep(case.pause_s)
        name = f"{side}.{case.name}.{number}"
        answers.append(await _call(client, base, call, namespace, name, mesh))
    return answers, time.monotonic() - started


async def _call(
    client: httpx.AsyncClient, base: str, call: Call, namespace: str, name: str, mesh: TestMesh
) -> dict[str, Any]:
    host = filled(call.host, namespace, {})
    authority = host if call.port == 80 else f"{host}:{call.port}"
    headers = [(CASE, name), *((key, filled(v, namespace, {})) for key, v in call.headers)]
    url = f"http://{authority}{call.path}"
    if base:
        headers.append(("host", authority))
        url = f"{base}{call.path}"
    request = client.build_request(call.method, url, headers=headers, content=call.body or None)
    seen: dict[str, Any] = {"status": 0, "body": b"", "headers": (), "broken": False, "raised": ""}
    try:
        response = await client.send(request, stream=True)
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
        told = [e for e in mesh.events if isinstance(e, OutboundEvent) and host in e.service]
        seen["flags"] = told[-1].flags if told else info.flags
    return seen


def _attempts(line: dict[str, Any]) -> int:
    """How many attempts were sent: Envoy counts the one that found no endpoint or no room too."""
    count = int(line["attempts"] or 0)
    is_in_vain = line["details"] == "no_healthy_upstream" or "{overflow}" in line["details"]
    return count - 1 if is_in_vain else count


def _gathered(
    side: str,
    case: Case,
    answers: list[dict[str, Any]],
    took_s: float,
    upstreams: Upstreams,
    log: dict[str, dict[str, Any]],
) -> Played:
    calls = []
    for number, seen in enumerate(answers):
        name = f"{side}.{case.name}.{number}"
        arrivals = tuple(upstreams.arrivals[name])
        about = seen
        details = ""
        if side == "envoy":
            line = log[name]
            details = str(line["details"])
            about = {
                "flags": line["flags"],
                "attempts": _attempts(line),
                "route": line["route"],
            }
        calls.append(
            Seen(
                status=seen["status"],
                body=seen["body"],
                headers=by_name(seen["headers"], IGNORED_RESPONSE_HEADERS),
                flags=about.get("flags") or "-",
                attempts=about.get("attempts") or 0,
                route=about.get("route") or "",
                arrivals=arrivals,
                broken=seen["broken"],
                raised=seen["raised"],
                details=details,
            )
        )
    return Played(calls, took_s)
