"""Where calls go: hosts and their short names, ports, subsets, weights."""

from __future__ import annotations

from conformance.cases import SERVICE, V1, V2, Call, case, get, service_entry, virtual_service

TWO_PORTS = (
    SERVICE.replace(
        "ports: [{number: 80, name: http, protocol: HTTP}]",
        "ports: [{number: 80, name: http, protocol: HTTP}, {number: 9080, name: other, protocol: HTTP}]",
    )
    .replace("ports: {http: $a}", "ports: {http: $a, other: $c}")
    .replace("ports: {http: $b}", "ports: {http: $b, other: $d}")
)
OTHER = service_entry(
    "stock",
    """
    hosts: [stock]
    location: MESH_INTERNAL
    resolution: STATIC
    ports: [{number: 9080, name: http, protocol: HTTP}]
    endpoints: [{address: 127.0.0.1, ports: {http: $e}}]
    """,
)
OUTSIDE = service_entry(
    "outside",
    """
    hosts: [api.$ns.example.com, "*.$ns.example.org"]
    resolution: STATIC
    ports: [{number: 80, name: http, protocol: HTTP}, {number: 8080, name: alt, protocol: HTTP}]
    endpoints: [{address: 127.0.0.1, ports: {http: $c, alt: $d}}]
    """,
)
FULL = "orders.$ns.svc.cluster.local"


def _weights(first: int, second: int) -> str:
    return (
        f"- route: [{{destination: {{host: orders, subset: v1}}, weight: {first}}}, "
        f"{{destination: {{host: orders, subset: v2}}, weight: {second}}}]"
    )


CASES = [
    case("host-namespace", f"- {V1}", get(host="orders.$ns")),
    case("host-svc", f"- {V1}", get(host="orders.$ns.svc")),
    case("host-full", f"- {V1}", get(host=FULL)),
    case("host-full-dot", f"- {V1}", get(host=FULL + ".")),
    case("host-upper", f"- {V1}", get(host="ORDERS.$ns")),
    case("host-short-of-another-namespace", f"- {V1}", get(host="orders-$ns"), world="registry"),
    case("host-port-in-authority", f"- {V1}", get(port=9080), service=TWO_PORTS),
    case("port-dialled", None, get(port=9080), get(port=9080), service=TWO_PORTS, unordered=True),
    case(
        "port-of-destination",
        "- route: [{destination: {host: orders, subset: v1, port: {number: 9080}}}]",
        get(),
        service=TWO_PORTS,
    ),
    case("port-kept", f"- {V2}", get(port=9080), get(), service=TWO_PORTS),
    case("port-only-one", "- route: [{destination: {host: stock}}]", get(), more=OTHER),
    case(
        "port-match",
        f"- {{match: [{{port: 9080}}], {V1}}}\n- {V2}",
        get(),
        get(port=9080),
        service=TWO_PORTS,
    ),
    case(
        "port-match-all-filtered",
        f"- {{match: [{{port: 9080}}], {V1}}}",
        *[get(port=9080)] * 2,
        *[get()] * 2,
        service=TWO_PORTS,
        unordered=True,
    ),
    case(
        "target-port",
        None,
        get(),
        service=SERVICE.replace("protocol: HTTP}", "protocol: HTTP, targetPort: $c}")
        .replace("ports: {http: $a}, ", "")
        .replace("ports: {http: $b}, ", ""),
    ),
    case("subset-empty", "- route: [{destination: {host: orders, subset: empty}}]", get()),
    case("weights-one-only", _weights(0, 100), get(), get(), get()),
    case("weights-not-hundred", _weights(0, 7), get()),
    case(
        "weight-of-single", "- route: [{destination: {host: orders, subset: v2}, weight: 0}]", get()
    ),
    case("weight-of-single-absent", f"- {V2}", get()),
    case("outside-exact", None, get(host="api.$ns.example.com"), more=OUTSIDE),
    case("outside-port", None, get(host="api.$ns.example.com", port=8080), more=OUTSIDE),
    case(
        "outside-wildcard",
        None,
        get(host="a.$ns.example.org"),
        get(host="a.b.$ns.example.org", port=8080),
        more=OUTSIDE,
    ),
    case("outside-exact-case", None, get(host="API.$ns.Example.com"), more=OUTSIDE),
    case(
        "outside-virtual-service",
        f"- {V1}",
        get(host="api.$ns.example.com"),
        get(host="api.$ns.example.com", port=8080),
        more=OUTSIDE
        + "---"
        + virtual_service(
            "- {match: [{port: 8080}], route: [{destination: {host: orders, subset: v2, port: {number: 80}}}]}\n- route: [{destination: {host: api.$ns.example.com, port: {number: 8080}}}]",
            "api.$ns.example.com",
            "outside",
        ),
    ),
    case(
        "outside-wildcard-virtual-service",
        None,
        get(host="a.$ns.example.org"),
        get(host="x.y.$ns.example.org"),
        more=OUTSIDE
        + "---"
        + virtual_service(f"- {V1}", '"*.$ns.example.org"', "wide")
        + "---"
        + virtual_service(f"- {V2}", '"*.y.$ns.example.org"', "narrow"),
    ),
    case(
        "virtual-host-without-service",
        None,
        get(host="shop.$ns.example.net"),
        more=virtual_service(f"- {V2}", "shop.$ns.example.net", "shop"),
    ),
    case(
        "several-hosts",
        None,
        get(host="one.$ns.example.net"),
        get(host="two.$ns.example.net"),
        more=virtual_service(f"- {V2}", "one.$ns.example.net, two.$ns.example.net", "both"),
    ),
    case(
        "method-and-body",
        f"- {V1}",
        Call("/", "PUT", body=b"x" * 5000),
        Call("/", "DELETE"),
        Call("/", "PATCH", body=b"y"),
    ),
    case("head", f"- {V1}", Call("/", "HEAD")),
    case("options", f"- {V1}", Call("/", "OPTIONS")),
]
