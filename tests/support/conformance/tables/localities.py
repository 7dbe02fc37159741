"""Localities: priorities, fail-over and shares, where one of them takes every call."""

from __future__ import annotations

from conformance.cases import SERVICE, case, get
from conformance.run import World
from conformance.upstreams import answer

WORLDS: dict[str, World] = {
    "near": World(locality="eu/one/a"),
    "mesh-locality": World(
        """
apiVersion: meshware.dev/v1alpha1
kind: MeshConfig
metadata: {name: mesh, namespace: istio-system}
spec: {localityLbSetting: {distribute: [{from: 'eu/*', to: {'us/*': 100}}]}}
""",
        locality="eu/one/a",
    ),
}


def _placed(first: str, second: str) -> str:
    """`orders` with an endpoint in each of two localities, upstreams `a` and `b`."""
    return SERVICE.replace("{version: v1}}", f"{{version: v1}}, locality: {first}}}").replace(
        "{version: v2}}", f"{{version: v2}}, locality: {second}}}"
    )


NEAR_FAR = _placed("eu/one/a", "us/two/b")
EJECTS = (
    "outlierDetection: {consecutive5xxErrors: 1, baseEjectionTime: 300s, maxEjectionPercent: 100}"
)
SIX = [get()] * 6


def _case(name, settings, *calls, service=NEAR_FAR, world="near", ejects=True, http=None, **more):
    """A case over both endpoints, one after the other where nothing else chooses."""
    balancer = f"loadBalancer: {{simple: ROUND_ROBIN{settings}}}"
    rule = f"trafficPolicy: {{{balancer}{', ' + EJECTS if ejects else ''}}}"
    http = http or "- {route: [{destination: {host: orders}}], retries: {attempts: 0}}"
    return case(
        f"locality-{name}", http, *(calls or SIX), rule=rule, service=service, world=world, **more
    )


def _setting(text: str) -> str:
    return f", localityLbSetting: {{{text}}}"


CASES = [
    _case("near", ""),
    _case("near-zone", "", service=_placed("eu/one/b", "eu/two/a")),
    _case("near-region", "", service=_placed("us/one/a", "eu/two/a")),
    _case("unknown-place", "", service=_placed("us/one/a", "asia/two/b"), unordered=True),
    _case("without-ejection", "", ejects=False, unordered=True),
    _case("turned-off", _setting("enabled: false"), unordered=True),
    _case("next-when-ejected", "", script={"a": [answer(503)]}),
    # Envoy merges what happens within a second, so the second one would be out a second late.
    _case("all-ejected", "", *[get()] * 3, script={"*": [answer(503)]}, pause_s=2.5),
    _case(
        "failover",
        _setting("failover: [{from: eu, to: us}]"),
        service=_placed("asia/x/y", "us/two/b"),
    ),
    _case("distribute", _setting("distribute: [{from: 'eu/*', to: {'us/*': 100}}]"), ejects=False),
    _case(
        "distribute-ejected",
        _setting("distribute: [{from: 'eu/*', to: {'us/*': 100}}]"),
        script={"b": [answer(503)]},
    ),
    _case(
        "distribute-others",
        _setting("distribute: [{from: 'us/*', to: {'us/*': 100}}]"),
        ejects=False,
        unordered=True,
    ),
    _case(
        "distribute-nowhere",
        _setting("distribute: [{from: '*', to: {'asia/*': 100}}]"),
        ejects=False,
    ),
    _case(
        "distribute-exact",
        _setting("distribute: [{from: eu/one/a, to: {us/two/b: 100}}]"),
        ejects=False,
    ),
    _case("priority-of-labels", _setting("failoverPriority: ['version=v2']")),
    _case("priority-of-own-labels", _setting("failoverPriority: [app]"), unordered=True),
    _case(
        "priority-next", _setting("failoverPriority: ['version=v2']"), script={"b": [answer(503)]}
    ),
    _case("of-the-mesh", "", world="mesh-locality", ejects=False),
    _case("of-the-mesh-replaced", _setting("enabled: true"), world="mesh-locality"),
    _case(
        "of-the-mesh-turned-off", _setting("enabled: false"), world="mesh-locality", unordered=True
    ),
]
