"""The fields of Istio's networking kinds."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from meshware.policy.support.status import Support, differs, done, later, never

__all__ = ["NETWORKING"]

_NO_L4 = "only HTTP passes through the mesh in an app's process"
_SERVERS_OWN = "connections belong to the server that runs the app; set its own options"
_EXPORT = (
    "about a host of another namespace an absent `exportTo` means `.`; "
    "MeshConfig's defaults restore Istio's `*`"
)
_COMMANDS = (
    "values may hold `%REQ(name?other)%` and `%%`; Envoy's other commands are about its own "
    "connections and logs, and refused"
)
_IDLE = (
    "without either 4 s, which is less than Python's servers keep one; an idle connection is "
    "closed when a call next looks at it"
)
_FILE = "a file of each process's machine, read again when it changes"
_MIRRORS = "at most 64 copies at once for each client object, the others are dropped"
_ROUTE = "VirtualService.spec.http[]"
_POLICY = "DestinationRule.spec.trafficPolicy"
_SUBSET = "DestinationRule.spec.subsets[].trafficPolicy"


def _traffic_policy(root: str) -> dict[str, Support]:
    """Return the table of a traffic policy: of a destination or of a subset."""
    return {
        **_port_policy(root),
        f"{root}.portLevelSettings": done(),
        **_port_policy(f"{root}.portLevelSettings[]"),
        f"{root}.tunnel": never(_NO_L4),
        f"{root}.proxyProtocol": never(_NO_L4),
        f"{root}.retryBudget": done("of each process"),
    }


def _port_policy(root: str) -> dict[str, Support]:
    """Return the table of what a traffic policy says of a single port too."""
    return {
        root: done(),
        f"{root}.loadBalancer": done(),
        f"{root}.loadBalancer.localityLbSetting": done(
            "among the localities of a level the next one is drawn; Envoy takes turns"
        ),
        f"{root}.loadBalancer.warmup": done("from when this process first met the endpoint"),
        f"{root}.loadBalancer.warmupDurationSecs": done("older word for warmup"),
        f"{root}.loadBalancer.consistentHash": done(
            "without its key a call goes to any endpoint; a retry stays at the endpoint unless "
            "retryIgnorePreviousHosts is true"
        ),
        f"{root}.loadBalancer.consistentHash.useSourceIp": differs(
            "the address is this workload's own, as behind its sidecar: all its calls go to one "
            "endpoint"
        ),
        f"{root}.loadBalancer.simple": done(
            "an endpoint that was tried is passed over while another is left; with PASSTHROUGH "
            "calls go where the caller's URL says"
        ),
        f"{root}.connectionPool": done(),
        f"{root}.connectionPool.tcp.connectTimeout": done(),
        f"{root}.connectionPool.tcp.maxConnections": differs(
            "counts requests under way, each with its connection; idle connections do not count"
        ),
        f"{root}.connectionPool.http.http1MaxPendingRequests": differs(
            "requests wait only for maxConnections, never for a connection to be made"
        ),
        f"{root}.connectionPool.tcp.tcpKeepalive": done("in whole seconds"),
        f"{root}.connectionPool.tcp.maxConnectionDuration": differs(
            "no request begins on an older connection; it is closed when a call next looks at it"
        ),
        f"{root}.connectionPool.tcp.idleTimeout": differs(_IDLE),
        f"{root}.connectionPool.http.idleTimeout": differs(_IDLE),
        f"{root}.connectionPool.http.maxRequestsPerConnection": done(),
        f"{root}.connectionPool.http.h2UpgradePolicy": differs(
            "clients speak HTTP/1.1, which servers of HTTP/2 take too: UPGRADE changes nothing"
        ),
        f"{root}.connectionPool.http.useClientProtocol": done(
            "kept either way: the caller's library speaks HTTP/1.1, and so does what goes out"
        ),
        f"{root}.connectionPool.http.maxConcurrentStreams": done(
            "kept whatever it says: a connection of HTTP/1.1 carries one request at a time"
        ),
        f"{root}.connectionPool.http.http2MaxRequests": done(
            "requests under way in one process, their bodies included, of HTTP/1.1 too"
        ),
        f"{root}.connectionPool.http.maxRetries": done("of each process"),
        f"{root}.outlierDetection": done(
            "counted in each process; the sweeps of `interval` are made up for at the next call"
        ),
        f"{root}.outlierDetection.consecutiveErrors": never(
            "Istio looks at it no more; write consecutive5xxErrors"
        ),
        f"{root}.tls": done(
            "for calls to `http://`; what is called by `https://` has the TLS of the caller's "
            "library and no other"
        ),
        f"{root}.tls.mode": done(
            "`ISTIO_MUTUAL` without anybody to expect (no account, no subjectAltNames) fails"
        ),
        f"{root}.tls.caCertificates": done(_FILE),
        f"{root}.tls.caCrl": done(_FILE),
        f"{root}.tls.clientCertificate": done(_FILE),
        f"{root}.tls.privateKey": done(f"{_FILE}; without a password"),
        f"{root}.tls.credentialName": never(
            "it names a Kubernetes secret, which gateways read; write the paths of files in "
            "caCertificates, clientCertificate and privateKey"
        ),
        f"{root}.tls.sni": done("without it the Host of each call"),
        f"{root}.tls.insecureSkipVerify": done("neither authority nor name is verified"),
        f"{root}.tls.subjectAltNames": differs(
            "without any the certificate must be for `sni`, else for the Host; Istio checks no "
            "name where there is `sni`"
        ),
    }


def _workload(root: str) -> dict[str, Support]:
    """Return the table of a WorkloadEntry: alone, as an endpoint, as a template."""
    return {
        root: done(),
        f"{root}.address": done(
            "an IP address, a name with resolution DNS, or the absolute path of a Unix socket"
        ),
        f"{root}.network": done(
            "kept; there are no gateways between networks, so that every endpoint is called "
            "directly, and one without an address not at all"
        ),
        f"{root}.locality": done(),
        f"{root}.serviceAccount": done(
            "calls to it are upgraded to mutual TLS, and its certificate must bear this account"
        ),
    }


NETWORKING: Mapping[str, Support] = MappingProxyType(
    {
        # --- VirtualService ---
        "VirtualService.spec": done(),
        "VirtualService.spec.gateways": done("without `mesh` the resource is for no client"),
        "VirtualService.spec.tls": never(_NO_L4),
        "VirtualService.spec.tcp": never(_NO_L4),
        "VirtualService.spec.exportTo": differs(_EXPORT),
        f"{_ROUTE}.match[].headers": done("a repeated header is matched line by line, as Envoy"),
        f"{_ROUTE}.match[].statPrefix": never("there are no Envoy statistics"),
        f"{_ROUTE}.redirect.redirectCode": differs(
            "301, 302, 303, 307 and 308; of others Istio makes a route that does nothing"
        ),
        f"{_ROUTE}.delegate": done(),
        f"{_ROUTE}.rewrite.uriRegexRewrite": done("a result without a leading slash gets one"),
        f"{_ROUTE}.retries": differs(
            "what is not safe to repeat, by its method or a ServicePolicy, is sent at most once"
        ),
        f"{_ROUTE}.retries.retryRemoteLocalities": done(),
        f"{_ROUTE}.retries.retryIgnorePreviousHosts": differs(
            "an endpoint that was tried is met again only when no other is left"
        ),
        f"{_ROUTE}.fault.delay.exponentialDelay": never("Istio does not carry it out either"),
        f"{_ROUTE}.fault.abort.http2Error": never("Istio does not carry it out either"),
        f"{_ROUTE}.mirror": done(_MIRRORS),
        f"{_ROUTE}.mirrors": done(_MIRRORS),
        f"{_ROUTE}.corsPolicy": differs(
            "the destination answers, behind its authorization rules, where a sidecar of the "
            "caller would; only VirtualServices of the service's own or the root namespace count, "
            "and rules with sourceLabels or sourceNamespace are passed over"
        ),
        f"{_ROUTE}.headers": done(_COMMANDS),
        f"{_ROUTE}.route[].headers": done(_COMMANDS),
        # --- DestinationRule ---
        "DestinationRule.spec": done(),
        "DestinationRule.spec.exportTo": differs(_EXPORT),
        **_traffic_policy(_POLICY),
        **_traffic_policy(_SUBSET),
        # --- ServiceEntry, WorkloadEntry, WorkloadGroup ---
        "ServiceEntry.spec": done(),
        "ServiceEntry.spec.hosts": differs("a host without a dot expands, as a VirtualService's"),
        "ServiceEntry.spec.addresses": differs(
            "callers may name the service by each; by any address in a block, too"
        ),
        "ServiceEntry.spec.resolution": differs(
            "DNS: the last good answer stays while there is no other, also after NXDOMAIN; names "
            "have IPv6 endpoints only where they have no IPv4 ones. NONE and `DYNAMIC_DNS`: the "
            "host of the caller's URL is looked up by the client library, call by call"
        ),
        "ServiceEntry.spec.exportTo": differs(_EXPORT),
        "ServiceEntry.spec.subjectAltNames": done(
            "where a DestinationRule originates TLS and has none of its own"
        ),
        **_workload("ServiceEntry.spec.endpoints[]"),
        **_workload("WorkloadEntry.spec"),
        "WorkloadGroup.spec": done(),
        "WorkloadGroup.spec.probe": later("arrives with the daemon's health checks"),
        **_workload("WorkloadGroup.spec.template"),
        "WorkloadGroup.spec.template.address": never("each workload of a group has its own"),
        # --- Sidecar ---
        "Sidecar.spec": done(),
        "Sidecar.spec.ingress": never("there is no listener beside the app's own"),
        "Sidecar.spec.inboundConnectionPool": done(),
        "Sidecar.spec.inboundConnectionPool.tcp": never(_SERVERS_OWN),
        **{
            f"Sidecar.spec.inboundConnectionPool.http.{name}": never(_SERVERS_OWN)
            for name in (
                "http1MaxPendingRequests",
                "maxRequestsPerConnection",
                "idleTimeout",
                "h2UpgradePolicy",
                "useClientProtocol",
                "maxConcurrentStreams",
            )
        },
        "Sidecar.spec.inboundConnectionPool.http.maxRetries": never(
            "the app itself is called once"
        ),
        "Sidecar.spec.inboundConnectionPool.http.http2MaxRequests": done(
            "calls under way in one process, WebSockets too; a DestinationRule of the service's "
            "own limits its clients alone"
        ),
        "Sidecar.spec.egress[].port": never("clients listen on no port"),
        "Sidecar.spec.egress[].bind": never("clients listen on no port"),
        "Sidecar.spec.egress[].captureMode": never("no traffic is captured"),
        "Sidecar.spec.outboundTrafficPolicy.egressProxy": done(
            "it gets what the mesh does not know, with the Host as the caller wrote it, neither "
            "time-outs nor retries"
        ),
    }
)
"""Field path -> status."""
