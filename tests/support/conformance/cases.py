"""One case: policy about the service `orders` of a namespace of its own, and calls to it.

In texts `$ns` stands for the namespace, `$a` to `$e` for the ports of the upstreams, `$refused` for
one at which nobody listens, `$tls` for `a` behind TLS, whose roots are the file `$ca` (`$other_ca`
is nobody's), and `$$` for a dollar sign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import Template

from conformance.upstreams import Answer, Script

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Call:
    """One request, as an app would make it."""

    path: str = "/"
    method: str = "GET"
    host: str = "orders.$ns"
    port: int = 80
    headers: Headers = ()
    body: bytes = b""


def get(path: str = "/", *, host: str = "orders.$ns", port: int = 80, **headers: str) -> Call:
    """A GET; `end_user="x"` is the header `end-user`."""
    return Call(path, host=host, port=port, headers=_named(headers))


def post(path: str = "/", body: bytes = b"data", **headers: str) -> Call:
    """A POST."""
    return Call(path, "POST", headers=_named(headers), body=body)


def _named(headers: dict[str, str]) -> Headers:
    return tuple((name.replace("_", "-"), value) for name, value in headers.items())


SERVICE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: orders, namespace: $ns}
spec:
  hosts: [orders]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
  - {address: 127.0.0.1, ports: {http: $a}, labels: {version: v1}}
  - {address: 127.0.0.1, ports: {http: $b}, labels: {version: v2}}
"""
"""`orders`, v1 of which is upstream `a` and v2 upstream `b`."""

SUBSETS = """
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
  - {name: empty, labels: {version: v9}}
"""

V1 = "route: [{destination: {host: orders, subset: v1}}]"
V2 = "route: [{destination: {host: orders, subset: v2}}]"


def virtual_service(http: str, hosts: str = "orders", name: str = "orders") -> str:
    """A VirtualService whose `http` is this text, a list in flow or block style."""
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: $ns}}
spec:
  hosts: [{hosts}]
  exportTo: ["*"]
  http:
{_indented(http, 2)}
"""


def destination_rule(spec: str, host: str = "orders", subsets: str = SUBSETS) -> str:
    """A DestinationRule with `subsets` and whatever else this text says of its spec."""
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {host.partition(".")[0]}, namespace: $ns}}
spec:
  host: {host}
  exportTo: ["*"]
{_indented(spec, 2)}
  subsets:{subsets.rstrip()}
"""


def service_entry(name: str, spec: str) -> str:
    """Another ServiceEntry."""
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: $ns}}
spec:
{_indented(spec, 2)}
"""


def _indented(text: str, by: int) -> str:
    lines = text.strip("\n").splitlines()
    least = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(" " * by + line[least:] for line in lines)


@dataclass(frozen=True)
class Case:
    """What is played on both sides, and how the answers are compared.

    Attributes:
        name: unique.
        policies: YAML texts, without those of the service, which come by themselves.
        calls: one after another.
        script: what the upstreams answer.
        differs: names in `meshware.envoy.differences`: what is meant to be otherwise, and is.
        unordered: which upstream a call goes to is chance: their shares are compared.
        world: cases of one name share mesh-wide policy, client and Envoy.
        at_least_s: all calls together take that long, on both sides.
        pause_s: between calls, for what takes its time.
    """

    name: str
    policies: Sequence[str]
    calls: Sequence[Call]
    script: Script = field(default_factory=Script)
    differs: Sequence[str] = ()
    unordered: bool = False
    world: str = ""
    at_least_s: float = 0.0
    pause_s: float = 0.0


def case(
    name: str,
    http: str | None = None,
    *calls: Call,
    rule: str = "trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}",
    service: str = SERVICE,
    more: str = "",
    script: dict[str, Sequence[Answer]] | None = None,
    differs: Sequence[str] = (),
    unordered: bool = False,
    world: str = "",
    at_least_s: float = 0.0,
    pause_s: float = 0.0,
) -> Case:
    """A case by its usual parts.

    Args:
        name: unique.
        http: of the VirtualService; None: there is none.
        calls: at least one.
        rule: of the DestinationRule's spec; `""`: there is none.
        service: the ServiceEntry.
        more: other resources.
        script: answers by upstream, `*` for each that is not named.
    """
    policies = [service, more]
    if rule:
        policies.append(destination_rule(rule))
    if http is not None:
        policies.append(virtual_service(http))
    return Case(
        name=name,
        policies=[policy for policy in policies if policy],
        calls=calls or (get(),),
        script=Script(script or {}),
        differs=differs,
        unordered=unordered,
        world=world,
        at_least_s=at_least_s,
        pause_s=pause_s,
    )


def filled(text: str, namespace: str, more: Mapping[str, object]) -> str:
    """Put namespace, ports and files into a text."""
    return Template(text).substitute(more, ns=namespace)
