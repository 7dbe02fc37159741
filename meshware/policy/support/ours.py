"""The fields of our own kinds."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from meshware.policy.support.status import Support, differs, done, later, never

__all__ = ["OURS"]

_COMMANDS = (
    "values may hold `%REQ(name?other)%` and `%%`; Envoy's other commands are about its own "
    "connections and logs, and refused"
)
_AUTHORIZER = "MeshConfig.spec.extensionProviders[].envoyExtAuthzHttp"


OURS: Mapping[str, Support] = MappingProxyType(
    {
        "MeshConfig.spec": later(),
        "MeshConfig.spec.trustDomain": done(),
        "MeshConfig.spec.trustDomainAliases": done(
            "in policies; a certificate of an alias needs its domain's roots in caCertificates"
        ),
        "MeshConfig.spec.caCertificates": differs(
            "for other trust domains, each of which it must name; our own come from the provider"
        ),
        "MeshConfig.spec.enableAutoMtls": done(),
        "MeshConfig.spec.extensionProviders": done(
            "authorizers, and providers of metrics, spans and access logs"
        ),
        f"{_AUTHORIZER}": differs(
            "a request whose path may mean several things is asked about once for each"
        ),
        "MeshConfig.spec.extensionProviders[].envoyExtAuthzGrpc": later(
            "authorizers are asked over HTTP: write envoyExtAuthzHttp where the authorizer speaks "
            "it, too, or inProcess and ask it from a function of the app"
        ),
        f"{_AUTHORIZER}.service": differs(
            "called as any service of the mesh: a VirtualService's routes, time-outs and retries "
            "hold too, which Istio passes by; a host without a dot needs its namespace before it"
        ),
        f"{_AUTHORIZER}.timeout": done("600 s where nothing is said, as in Istio"),
        f"{_AUTHORIZER}.statusOnError": differs("400 to 599"),
        f"{_AUTHORIZER}.includeRequestHeadersInCheck": differs(
            "`x-envoy-`, `x-meshware-`, token identities and what belongs to one connection never "
            "go; X-Forwarded-Client-Cert as the app gets it; of a repeated header one line"
        ),
        f"{_AUTHORIZER}.includeAdditionalHeadersInCheck": done(_COMMANDS),
        f"{_AUTHORIZER}.includeRequestBodyInCheck": done("up to 16 MiB; not of a WebSocket"),
        f"{_AUTHORIZER}.includeRequestBodyInCheck.packAsBytes": differs(
            "over HTTP a body is bytes anyway, and true is refused"
        ),
        f"{_AUTHORIZER}.headersToUpstreamOnAllow": differs(
            "except what the mesh decides by itself: Host, lengths, X-Forwarded-*, x-request-id, "
            "trace context, its own; the last value of a repeated one counts"
        ),
        f"{_AUTHORIZER}.headersToDownstreamOnDeny": differs(
            "Date, Server and what belongs to one connection are this server's own"
        ),
        "MeshConfig.spec.extensionProviders[].inProcess": done(
            "a function of the app, registered by `meshware.authorizer`; `timeout` is 5 s where "
            "nothing is said"
        ),
        "MeshConfig.spec.xfccTrustedProxies": done(),
        "MeshConfig.spec.identity": done("`leafLife` 1 h where nothing is said, 2 s at the least"),
        "MeshConfig.spec.nodeIdentities": done(),
        "MeshConfig.spec.defaultConfig.gatewayTopology.numTrustedProxies": differs(
            "for remote.ip of every workload, not of gateways: how many proxies of yours each call "
            "comes through; 0, the default, takes no header"
        ),
        "MeshConfig.spec.jwks": done("about `jwksUri` and issuers whose configuration is asked"),
        "MeshConfig.spec.jwks.allowedInternalHosts": done(
            "may be at loopback, private and unique-local addresses; link-local ones and those of "
            "clouds' metadata never"
        ),
        "MeshConfig.spec.jwks.allowedHttpHosts": done("others need `https://`"),
        "MeshConfig.spec.jwks.caFile": done(
            "of the machine that fetches keys; without it the system's authorities"
        ),
        "MeshConfig.spec.tracing": done(
            "`propagation`: any of `w3c`, `b3`, `b3multi`; the first that a request bears is read, "
            "and calls bear all of them; `w3c` where nothing is said"
        ),
        "MeshConfig.spec.defaultConfig.proxyHeaders": differs(
            "`SANITIZE` where nothing is said; Istio: `APPEND_FORWARD`"
        ),
        "MeshConfig.spec.rootNamespace": done(),
        "MeshConfig.spec.outboundTrafficPolicy": done(),
        "MeshConfig.spec.pathNormalization": differs(
            "absent: decides with `DECODE_AND_MERGE_SLASHES`, and the app's path stays as it is"
        ),
        "MeshConfig.spec.connectTimeout": done(),
        "MeshConfig.spec.dnsRefreshRate": differs(
            "for answers without a TTL, or with 0; after failures the time between look-ups grows "
            "from 1 s up to it"
        ),
        "MeshConfig.spec.defaultHttpRetryPolicy": done(),
        "MeshConfig.spec.localityLbSetting": done(),
        "MeshConfig.spec.defaultServiceExportTo": done(),
        "MeshConfig.spec.defaultVirtualServiceExportTo": done(),
        "MeshConfig.spec.defaultDestinationRuleExportTo": done(),
        "WorkloadPolicy.spec": done(),
        "WorkloadPolicy.spec.probePaths": done(
            "GET and HEAD of these are open to the workload's own identity and to the daemon's, "
            "which is admitted nowhere else"
        ),
        "ServicePolicy.spec": done(),
        "ServicePolicy.spec.http[].replayBufferBytes": done(
            "64 KiB where nothing is said; bytes in memory can be sent again whatever their size"
        ),
        "ServicePolicy.spec.http[].retryBudget": done(
            "of each process; in place of what a DestinationRule says of retries"
        ),
        "ServicePolicy.spec.http[].deadline": done(
            "from the start of the call to the end of its body, whatever a route says"
        ),
        "ServicePolicy.spec.http[].match[].statPrefix": never("there are no Envoy statistics"),
    }
)
"""Field path -> status."""
