"""What the mesh carries out of each field: one table, for refusing and for the reference.

A path names a field of a kind, `[]` for the items of a list, `{}` for the values of a mapping; a
path without an entry has the status of the nearest one above it. Nothing is ignored in silence:
`decode` refuses what is `LATER` or `NOT_APPLICABLE`, wherever it is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType

__all__ = ["LATER_WORDS", "SUPPORT", "Status", "Support", "is_partly_done", "support_of"]


class Status(StrEnum):
    """How far a field is carried out."""

    DONE = "done"
    DIFFERS = "differs"  # done, in another way than Istio: the note says how
    LATER = "not supported yet"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Support:
    """The status of a field, and what there is to say about it."""

    status: Status
    note: str = ""


def _done(note: str = "") -> Support:
    return Support(Status.DONE, note)


def _differs(note: str) -> Support:
    return Support(Status.DIFFERS, note)


def _later(note: str = "") -> Support:
    return Support(Status.LATER, note)


def _never(why: str) -> Support:
    return Support(Status.NOT_APPLICABLE, why)


_NO_L4 = "only HTTP passes through the mesh in an app's process"
_SERVERS_OWN = "connections belong to the server that runs the app; set its own options"
_NO_GATEWAY = "a policy with a target is for gateways and waypoints; write `selector`"
_EXPORT = (
    "about a host of another namespace an absent `exportTo` means `.`; "
    "MeshConfig's defaults restore Istio's `*`"
)

_WHOLE_USER = (
    "where a subject has a slash, the whole text of the principal is refused too: by DENY, and by "
    "`not` of ALLOW"
)
_REMOTE = (
    "with numTrustedProxies that many entries of X-Forwarded-For from the right; without, the "
    "connection's peer, where Istio's sidecar takes the last entry; an unknown address is matched "
    "by DENY and not by ALLOW"
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
_JWT = "RequestAuthentication.spec.jwtRules[]"
_POLICY = "DestinationRule.spec.trafficPolicy"
_SUBSET = "DestinationRule.spec.subsets[].trafficPolicy"


def _traffic_policy(root: str) -> dict[str, Support]:
    """Return the table of a traffic policy: of a destination or of a subset."""
    return {
        **_port_policy(root),
        f"{root}.portLevelSettings": _done(),
        **_port_policy(f"{root}.portLevelSettings[]"),
        f"{root}.tunnel": _never(_NO_L4),
        f"{root}.proxyProtocol": _never(_NO_L4),
        f"{root}.retryBudget": _done("of each process"),
    }


def _port_policy(root: str) -> dict[str, Support]:
    """Return the table of what a traffic policy says of a single port too."""
    return {
        root: _done(),
        f"{root}.loadBalancer": _done(),
        f"{root}.loadBalancer.localityLbSetting": _done(
            "among the localities of a level the next one is drawn; Envoy takes turns"
        ),
        f"{root}.loadBalancer.warmup": _done("from when this process first met the endpoint"),
        f"{root}.loadBalancer.warmupDurationSecs": _done("older word for warmup"),
        f"{root}.loadBalancer.consistentHash": _done(
            "without its key a call goes to any endpoint; a retry stays at the endpoint unless "
            "retryIgnorePreviousHosts is true"
        ),
        f"{root}.loadBalancer.consistentHash.useSourceIp": _differs(
            "the address is this workload's own, as behind its sidecar: all its calls go to one "
            "endpoint"
        ),
        f"{root}.loadBalancer.simple": _done(
            "an endpoint that was tried is passed over while another is left; with PASSTHROUGH "
            "calls go where the caller's URL says"
        ),
        f"{root}.connectionPool": _done(),
        f"{root}.connectionPool.tcp.connectTimeout": _done(),
        f"{root}.connectionPool.tcp.maxConnections": _differs(
            "counts requests under way, each with its connection; idle connections do not count"
        ),
        f"{root}.connectionPool.http.http1MaxPendingRequests": _differs(
            "requests wait only for maxConnections, never for a connection to be made"
        ),
        f"{root}.connectionPool.tcp.tcpKeepalive": _done("in whole seconds"),
        f"{root}.connectionPool.tcp.maxConnectionDuration": _differs(
            "no request begins on an older connection; it is closed when a call next looks at it"
        ),
        f"{root}.connectionPool.tcp.idleTimeout": _differs(_IDLE),
        f"{root}.connectionPool.http.idleTimeout": _differs(_IDLE),
        f"{root}.connectionPool.http.maxRequestsPerConnection": _done(),
        f"{root}.connectionPool.http.h2UpgradePolicy": _differs(
            "clients speak HTTP/1.1, which servers of HTTP/2 take too: UPGRADE changes nothing"
        ),
        f"{root}.connectionPool.http.useClientProtocol": _done(
            "kept either way: the caller's library speaks HTTP/1.1, and so does what goes out"
        ),
        f"{root}.connectionPool.http.maxConcurrentStreams": _done(
            "kept whatever it says: a connection of HTTP/1.1 carries one request at a time"
        ),
        f"{root}.connectionPool.http.http2MaxRequests": _done(
            "requests under way in one process, their bodies included, of HTTP/1.1 too"
        ),
        f"{root}.connectionPool.http.maxRetries": _done("of each process"),
        f"{root}.outlierDetection": _done(
            "counted in each process; the sweeps of `interval` are made up for at the next call"
        ),
        f"{root}.outlierDetection.consecutiveErrors": _never(
            "Istio looks at it no more; write consecutive5xxErrors"
        ),
        f"{root}.tls": _done(
            "for calls to `http://`; what is called by `https://` has the TLS of the caller's "
            "library and no other"
        ),
        f"{root}.tls.mode": _done(
            "`ISTIO_MUTUAL` without anybody to expect (no account, no subjectAltNames) fails"
        ),
        f"{root}.tls.caCertificates": _done(_FILE),
        f"{root}.tls.caCrl": _done(_FILE),
        f"{root}.tls.clientCertificate": _done(_FILE),
        f"{root}.tls.privateKey": _done(f"{_FILE}; without a password"),
        f"{root}.tls.credentialName": _never(
            "it names a Kubernetes secret, which gateways read; write the paths of files in "
            "caCertificates, clientCertificate and privateKey"
        ),
        f"{root}.tls.sni": _done("without it the Host of each call"),
        f"{root}.tls.insecureSkipVerify": _done("neither authority nor name is verified"),
        f"{root}.tls.subjectAltNames": _differs(
            "without any the certificate must be for `sni`, else for the Host; Istio checks no "
            "name where there is `sni`"
        ),
    }


def _workload(root: str) -> dict[str, Support]:
    """Return the table of a WorkloadEntry: alone, as an endpoint, as a template."""
    return {
        root: _done(),
        f"{root}.address": _done(
            "an IP address, a name with resolution DNS, or the absolute path of a Unix socket"
        ),
        f"{root}.network": _done(
            "kept; there are no gateways between networks, so that every endpoint is called "
            "directly, and one without an address not at all"
        ),
        f"{root}.locality": _done(),
        f"{root}.serviceAccount": _done(
            "calls to it are upgraded to mutual TLS, and its certificate must bear this account"
        ),
    }


SUPPORT: Mapping[str, Support] = MappingProxyType(
    {
        # --- VirtualService ---
        "VirtualService.spec": _done(),
        "VirtualService.spec.gateways": _done("without `mesh` the resource is for no client"),
        "VirtualService.spec.tls": _never(_NO_L4),
        "VirtualService.spec.tcp": _never(_NO_L4),
        "VirtualService.spec.exportTo": _differs(_EXPORT),
        f"{_ROUTE}.match[].headers": _done("a repeated header is matched line by line, as Envoy"),
        f"{_ROUTE}.match[].statPrefix": _never("there are no Envoy statistics"),
        f"{_ROUTE}.redirect.redirectCode": _differs(
            "301, 302, 303, 307 and 308; of others Istio makes a route that does nothing"
        ),
        f"{_ROUTE}.delegate": _done(),
        f"{_ROUTE}.rewrite.uriRegexRewrite": _done("a result without a leading slash gets one"),
        f"{_ROUTE}.retries": _differs(
            "what is not safe to repeat, by its method or a ServicePolicy, is sent at most once"
        ),
        f"{_ROUTE}.retries.retryRemoteLocalities": _done(),
        f"{_ROUTE}.retries.retryIgnorePreviousHosts": _differs(
            "an endpoint that was tried is met again only when no other is left"
        ),
        f"{_ROUTE}.fault.delay.exponentialDelay": _never("Istio does not carry it out either"),
        f"{_ROUTE}.fault.abort.http2Error": _never("Istio does not carry it out either"),
        f"{_ROUTE}.mirror": _done(_MIRRORS),
        f"{_ROUTE}.mirrors": _done(_MIRRORS),
        f"{_ROUTE}.corsPolicy": _differs(
            "the destination answers, behind its authorization rules, where a sidecar of the "
            "caller would; only VirtualServices of the service's own or the root namespace count, "
            "and rules with sourceLabels or sourceNamespace are passed over"
        ),
        f"{_ROUTE}.headers": _done(_COMMANDS),
        f"{_ROUTE}.route[].headers": _done(_COMMANDS),
        # --- DestinationRule ---
        "DestinationRule.spec": _done(),
        "DestinationRule.spec.exportTo": _differs(_EXPORT),
        **_traffic_policy(_POLICY),
        **_traffic_policy(_SUBSET),
        # --- ServiceEntry, WorkloadEntry, WorkloadGroup ---
        "ServiceEntry.spec": _done(),
        "ServiceEntry.spec.hosts": _differs("a host without a dot expands, as a VirtualService's"),
        "ServiceEntry.spec.addresses": _differs(
            "callers may name the service by each; by any address in a block, too"
        ),
        "ServiceEntry.spec.resolution": _differs(
            "DNS: the last good answer stays while there is no other, also after NXDOMAIN; names "
            "have IPv6 endpoints only where they have no IPv4 ones. NONE and `DYNAMIC_DNS`: the "
            "host of the caller's URL is looked up by the client library, call by call"
        ),
        "ServiceEntry.spec.exportTo": _differs(_EXPORT),
        "ServiceEntry.spec.subjectAltNames": _done(
            "where a DestinationRule originates TLS and has none of its own"
        ),
        **_workload("ServiceEntry.spec.endpoints[]"),
        **_workload("WorkloadEntry.spec"),
        "WorkloadGroup.spec": _done(),
        "WorkloadGroup.spec.probe": _later("arrives with the daemon's health checks"),
        **_workload("WorkloadGroup.spec.template"),
        "WorkloadGroup.spec.template.address": _never("each workload of a group has its own"),
        # --- Sidecar ---
        "Sidecar.spec": _done(),
        "Sidecar.spec.ingress": _never("there is no listener beside the app's own"),
        "Sidecar.spec.inboundConnectionPool": _done(),
        "Sidecar.spec.inboundConnectionPool.tcp": _never(_SERVERS_OWN),
        **{
            f"Sidecar.spec.inboundConnectionPool.http.{name}": _never(_SERVERS_OWN)
            for name in (
                "http1MaxPendingRequests",
                "maxRequestsPerConnection",
                "idleTimeout",
                "h2UpgradePolicy",
                "useClientProtocol",
                "maxConcurrentStreams",
            )
        },
        "Sidecar.spec.inboundConnectionPool.http.maxRetries": _never(
            "the app itself is called once"
        ),
        "Sidecar.spec.inboundConnectionPool.http.http2MaxRequests": _done(
            "calls under way in one process, WebSockets too; a DestinationRule of the service's "
            "own limits its clients alone"
        ),
        "Sidecar.spec.egress[].port": _never("clients listen on no port"),
        "Sidecar.spec.egress[].bind": _never("clients listen on no port"),
        "Sidecar.spec.egress[].captureMode": _never("no traffic is captured"),
        "Sidecar.spec.outboundTrafficPolicy.egressProxy": _done(
            "it gets what the mesh does not know, with the Host as the caller wrote it, neither "
            "time-outs nor retries"
        ),
        # --- security and telemetry ---
        "PeerAuthentication.spec": _done(),
        "PeerAuthentication.spec.mtls.mode": _differs(
            "STRICT: a server that cannot close a plaintext connection answers 403"
        ),
        "RequestAuthentication.spec": _done(),
        "RequestAuthentication.spec.jwtRules[].jwksUri": _differs(
            "https unless the MeshConfig names the host; fetched each 20 min, and again after an "
            "unknown `kid`, at most once in 30 s; keys are dropped after 7 days of failures"
        ),
        "RequestAuthentication.spec.jwtRules[].timeout": _done("60 s at the most"),
        "RequestAuthentication.spec.targetRef": _never(_NO_GATEWAY),
        "RequestAuthentication.spec.targetRefs": _never(_NO_GATEWAY),
        "RequestAuthentication.spec.jwtRules": _differs(
            "every token at a place where a rule looks must be good, also where another rule has "
            "found a good one, and one rule must believe all of its own; `exp` is required; HMAC, "
            "header parameters such as `jku`, `x5c` and `crit`, a member that is there twice, and "
            "more than 16 KiB are refused"
        ),
        f"{_JWT}.audiences": _differs(
            "compared as written; Envoy takes away `https://` and a slash at the end"
        ),
        f"{_JWT}.jwks": _differs(
            "what cannot be read, or holds a symmetric or private key, refuses the policy; Istio "
            "takes it, and lets every token fail. A key that cannot verify is passed over with a "
            "warning"
        ),
        f"{_JWT}.fromHeaders": _differs(
            "two tokens at one place are refused, as is the prefix in another case or further "
            "behind"
        ),
        f"{_JWT}.fromParams": _done("a token stays in the query, as with older Envoys"),
        f"{_JWT}.fromCookies": _done("a token stays in the cookie, as with Envoy"),
        f"{_JWT}.forwardOriginalToken": _done(
            "a header with a token is removed, unless it is true"
        ),
        f"{_JWT}.outputPayloadToHeader": _done(
            "removed from what callers send, also where no token comes"
        ),
        f"{_JWT}.outputClaimToHeaders": _done(
            "texts, numbers and truth values; removed from what callers send, also where no token "
            "comes"
        ),
        "Telemetry.spec": _later("arrives with metrics, traces and access logs"),
        "AuthorizationPolicy (meshware.dev).spec": _later("arrives with the rule index"),
        "AuthorizationPolicy.spec": _done(
            "a value that is none is refused at load; Istio leaves out an ALLOW rule that has one, "
            "and of a DENY rule the value alone. `istio.io/dry-run` is for ALLOW and DENY"
        ),
        "AuthorizationPolicy.spec.action": _done("ALLOW, DENY and AUDIT; CUSTOM comes later"),
        "AuthorizationPolicy.spec.provider": _later("arrives with CUSTOM"),
        "AuthorizationPolicy.spec.targetRef": _never(_NO_GATEWAY),
        "AuthorizationPolicy.spec.targetRefs": _never(_NO_GATEWAY),
        "AuthorizationPolicy.spec.rules[].from[].source": _done(),
        "AuthorizationPolicy.spec.rules[].from[].source.serviceAccounts": _done(
            "of any trust domain that policy believes, as are namespaces"
        ),
        **{
            f"AuthorizationPolicy.spec.rules[].from[].source.{name}": _differs(_WHOLE_USER)
            for name in ("requestPrincipals", "notRequestPrincipals")
        },
        **{
            f"AuthorizationPolicy.spec.rules[].from[].source.{name}": _differs(_REMOTE)
            for name in ("remoteIpBlocks", "notRemoteIpBlocks")
        },
        "AuthorizationPolicy.spec.rules[].from[].source.ipBlocks": _done(
            "an unknown address is matched by DENY and not by ALLOW"
        ),
        "AuthorizationPolicy.spec.rules[].from[].source.notIpBlocks": _done(
            "an unknown address is matched by DENY and not by ALLOW"
        ),
        "AuthorizationPolicy.spec.rules[].to[].operation.hosts": _differs(
            "without case, port and trailing dot, unless the value has a port itself"
        ),
        "AuthorizationPolicy.spec.rules[].to[].operation.paths": _differs(
            "DENY matches any candidate path, ALLOW needs all of them"
        ),
        "AuthorizationPolicy.spec.rules[].when": _differs(
            "every key but Envoy's own (`experimental.envoy.filters`) and pseudo-headers; each "
            "value of a repeated header counts; an SNI that a server keeps to itself is matched by "
            "DENY and not by ALLOW; request.auth.principal and remote.ip as in `source`"
        ),
        # --- ours ---
        "MeshConfig.spec": _later(),
        "MeshConfig.spec.trustDomain": _done(),
        "MeshConfig.spec.trustDomainAliases": _done(
            "in policies; a certificate of an alias needs its domain's roots in caCertificates"
        ),
        "MeshConfig.spec.caCertificates": _differs(
            "for other trust domains, each of which it must name; our own come from the provider"
        ),
        "MeshConfig.spec.enableAutoMtls": _done(),
        "MeshConfig.spec.xfccTrustedProxies": _done(),
        "MeshConfig.spec.identity": _done("`leafLife` 1 h where nothing is said, 2 s at the least"),
        "MeshConfig.spec.nodeIdentities": _done(),
        "MeshConfig.spec.jwks": _done("about `jwksUri` and issuers whose configuration is asked"),
        "MeshConfig.spec.jwks.allowedInternalHosts": _done(
            "may be at loopback, private and unique-local addresses; link-local ones and those of "
            "clouds' metadata never"
        ),
        "MeshConfig.spec.jwks.allowedHttpHosts": _done("others need `https://`"),
        "MeshConfig.spec.jwks.caFile": _done(
            "of the machine that fetches keys; without it the system's authorities"
        ),
        "MeshConfig.spec.defaultConfig.gatewayTopology.numTrustedProxies": _differs(
            "for remote.ip of every workload, not of gateways: how many proxies of yours each call "
            "comes through; 0, the default, takes no header"
        ),
        "MeshConfig.spec.defaultConfig.proxyHeaders": _differs(
            "`SANITIZE` where nothing is said; Istio: `APPEND_FORWARD`"
        ),
        "MeshConfig.spec.rootNamespace": _done(),
        "MeshConfig.spec.outboundTrafficPolicy": _done(),
        "MeshConfig.spec.pathNormalization": _differs(
            "absent: decides with `DECODE_AND_MERGE_SLASHES`, and the app's path stays as it is"
        ),
        "MeshConfig.spec.connectTimeout": _done(),
        "MeshConfig.spec.dnsRefreshRate": _differs(
            "for answers without a TTL, or with 0; after failures the time between look-ups grows "
            "from 1 s up to it"
        ),
        "MeshConfig.spec.defaultHttpRetryPolicy": _done(),
        "MeshConfig.spec.localityLbSetting": _done(),
        "MeshConfig.spec.defaultServiceExportTo": _done(),
        "MeshConfig.spec.defaultVirtualServiceExportTo": _done(),
        "MeshConfig.spec.defaultDestinationRuleExportTo": _done(),
        "WorkloadPolicy.spec": _done(),
        "WorkloadPolicy.spec.probePaths": _done(
            "GET and HEAD of these are open to the workload's own identity and to the daemon's, "
            "which is admitted nowhere else"
        ),
        "ServicePolicy.spec": _done(),
        "ServicePolicy.spec.http[].replayBufferBytes": _done(
            "64 KiB where nothing is said; bytes in memory can be sent again whatever their size"
        ),
        "ServicePolicy.spec.http[].retryBudget": _done(
            "of each process; in place of what a DestinationRule says of retries"
        ),
        "ServicePolicy.spec.http[].deadline": _done(
            "from the start of the call to the end of its body, whatever a route says"
        ),
        "ServicePolicy.spec.http[].match[].statPrefix": _never("there are no Envoy statistics"),
    }
)
"""Field path -> status."""


LATER_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "AuthorizationPolicy.spec.action": ("CUSTOM",),
    }
)
"""Words of a field that is carried out, which themselves are not supported yet."""


@cache
def support_of(path: str) -> Support:
    """Return the status of a field: its own, else that of the nearest field above it."""
    while path:
        found = SUPPORT.get(path)
        if found is not None:
            return found
        path = path[:-2] if path.endswith(("[]", "{}")) else path.rpartition(".")[0]
    return _done()


@cache
def is_partly_done(path: str) -> bool:
    """Say whether part of a field that is not supported yet is carried out all the same."""
    return any(
        below.startswith((f"{path}.", f"{path}["))
        and support.status in (Status.DONE, Status.DIFFERS)
        for below, support in SUPPORT.items()
    )
