"""What one record of the policy file holds, by the prefix of its key.

==================  ====================  ========================================================
key                 type                  subject
==================  ====================  ========================================================
`mesh`              `MeshRecord`          mesh-wide settings, defaults filled in
`svc/<host>`        `ServiceRecord`       a service: who claims the host, its ports
`ep/<host>`         `EndpointsRecord`     its endpoints; they change most, so they stand alone
`vs/<ns>/<name>`    `VirtualServiceSpec`  one VirtualService
`dr/<ns>/<name>`    `DestinationRuleSpec` one DestinationRule
`sp/<ns>/<name>`    `ServicePolicySpec`   one ServicePolicy
`vs-host/<host>`    `HostIndex`           the VirtualServices that name this host or wildcard
`dr-host/<host>`    `HostIndex`           the same for DestinationRules
`sp-host/<host>`    `HostIndex`           the same for ServicePolicies
`authz/<ns>/<name>` `AuthorizationRecord` one AuthorizationPolicy of Istio's kind
`mesh-authz/<ns>/<name>` `AuthorizationRecord`  one of our kind
`authn/<ns>/<name>` `RequestAuthenticationSpec`  one RequestAuthentication
`place/<key>`       `PlaceRecord`         where the policy of another record is written
`jwks/<digest>`     `JwksRecord`          the keys that are found at one address
`sidecars`          `SidecarIndex`        who is scoped by which Sidecar
`sidecar/<ns>/<name>`  `SidecarSpec`      one Sidecar
`telemetries`       `TelemetryIndex`      which workloads each Telemetry is for
`telemetry/<ns>/<name>` `TelemetrySpec`   one Telemetry
`workload/<ns>/<name>` `WorkloadRecord`   what applies inbound to one workload
`partial-wildcards` `PartialWildcards`    the hosts that end within a label, `*foo.com`
`vips`              `VipIndex`            services by the addresses that stand for their hosts
`bundle/<trust domain>`  `BundleRecord`   who may vouch for the IDs of a trust domain
==================  ====================  ========================================================

Names in records are resolved: hosts are full, `exportTo` is a list of namespaces or `*`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from meshware.policy.document.authorization_policy import MeshAuthorizationPolicySpec
from meshware.policy.document.common import Document, Labels
from meshware.policy.document.destination_rule import LocalityLbSetting
from meshware.policy.document.mesh_config import ExtensionProvider
from meshware.policy.document.virtual_service import HTTPRetry
from meshware.policy.paths import Normalization
from meshware.trace import Propagation

__all__ = [
    "ROOT_NAMESPACE",
    "TRUST_DOMAIN",
    "AuthorizationRecord",
    "BundleRecord",
    "Candidate",
    "DnsRecord",
    "EndpointRecord",
    "EndpointsRecord",
    "HostIndex",
    "JwksRecord",
    "KeyFetching",
    "MeshRecord",
    "PartialWildcards",
    "PeerMode",
    "PeerModes",
    "PlaceRecord",
    "PortRecord",
    "Resolution",
    "ServedHost",
    "ServiceClaim",
    "ServiceRecord",
    "SidecarEntry",
    "SidecarIndex",
    "TelemetryEntry",
    "TelemetryIndex",
    "TelemetrySettings",
    "TokenModes",
    "ForwardCert",
    "TokenMode",
    "Vip",
    "VipIndex",
    "WorkloadRecord",
]

TRUST_DOMAIN = "cluster.local"  # Istio's default
ROOT_NAMESPACE = "istio-system"  # Istio's default, so that its mesh-wide policies work unchanged

Resolution: TypeAlias = Literal["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"]
"""How the endpoints of a service are found. Source: Istio ServiceEntry."""


PeerMode: TypeAlias = Literal["DISABLE", "PERMISSIVE", "STRICT"]
"""What a workload takes: plaintext, both, mutual TLS. Source: Istio PeerAuthentication."""

TokenMode: TypeAlias = Literal["DISABLE", "ACCEPT"]
"""Whether a workload takes token identities in the place of certificates. Ours: WorkloadPolicy."""

ForwardCert: TypeAlias = Literal["SANITIZE", "SANITIZE_SET", "APPEND_FORWARD"]
"""What an app gets of X-Forwarded-Client-Cert. Source: Istio ProxyHeaders.forwardedClientCert."""


class KeyFetching(Document, frozen=True):
    """From where the keys of token issuers may be fetched. Hosts are in lower case."""

    internal_hosts: tuple[str, ...] = ()  # that may be at loopback and private addresses
    http_hosts: tuple[str, ...] = ()  # that need no TLS
    ca_file: str | None = None  # whom to believe; None: the system's authorities


class TelemetrySettings(Document, frozen=True):
    """What is measured, traced and logged where no Telemetry says. Source: Istio MeshConfig."""

    metrics: tuple[str, ...] | None = None  # defaultProviders; None: nothing is said
    tracing: tuple[str, ...] | None = None
    logs: tuple[str, ...] | None = None
    log_file: str | None = None  # accessLogFile
    log_format: str | None = None
    log_encoding: Literal["TEXT", "JSON"] = "TEXT"
    has_tracing: bool = False  # enableTracing
    sampling: float | None = None  # percent; defaultConfig.tracing.sampling


class MeshRecord(Document, frozen=True):
    """Mesh-wide settings. Source: Istio MeshConfig."""

    trust_domain: str = TRUST_DOMAIN
    trust_domain_aliases: tuple[str, ...] = ()
    auto_mtls: bool = True  # Istio MeshConfig.enableAutoMtls
    xfcc_trusted_proxies: tuple[str, ...] = ()  # SPIFFE IDs whose word on others is taken
    forward_cert: ForwardCert = "SANITIZE"
    identity_provider: Literal["embedded", "files", "workload-api"] = "embedded"
    bundles: tuple[str, ...] = ()  # trust domains besides our own that have a `bundle/` record
    denied_authorities: tuple[str, ...] = ()  # fingerprints: `identity.bundle.fingerprint`
    daemon_account: str | None = None  # "ns/sa" of the daemon's own ID; None: it has none
    root_namespace: str = ROOT_NAMESPACE
    outbound_mode: Literal["ALLOW_ANY", "REGISTRY_ONLY"] = "ALLOW_ANY"
    normalization: Normalization | None = None  # None: decide strictly, leave the app's path alone
    connect_timeout_s: float = 10.0  # Istio MeshConfig.connectTimeout
    default_retry: HTTPRetry | None = None
    locality_lb_setting: LocalityLbSetting | None = None
    dns_refresh_s: float = 60.0  # Istio MeshConfig.dnsRefreshRate
    trusted_hops: int = 0  # proxies in front whose X-Forwarded-For is taken: numTrustedProxies
    providers: tuple[ExtensionProvider, ...] = ()  # Istio MeshConfig.extensionProviders
    jwks: KeyFetching = KeyFetching()
    propagation: tuple[Propagation, ...] = ("w3c",)  # of trace context: read in this order
    telemetry: TelemetrySettings = TelemetrySettings()


class PortRecord(Document, frozen=True):
    """One port of a service."""

    number: int
    name: str
    protocol: str


class ServiceClaim(Document, frozen=True):
    """One resource that says a host is a service, and who may see that."""

    namespace: str
    name: str
    export_to: tuple[str, ...]
    ports: tuple[PortRecord, ...] = ()
    location: str = "MESH_EXTERNAL"  # the proto default of ServiceEntry
    resolution: Resolution = "STATIC"
    subject_alt_names: tuple[str, ...] = ()  # that its certificate may bear; (): its name


class ServiceRecord(Document, frozen=True):
    """All claims on one host, oldest first."""

    claims: tuple[ServiceClaim, ...]


class EndpointRecord(Document, frozen=True):
    """One endpoint of one claim; `ports` maps the service's port to the endpoint's."""

    address: str  # an IP address, or `unix:///` and the path of a socket
    ports: dict[str, int]  # JSON has string keys
    labels: Labels | None = None
    weight: int = 1
    locality: str | None = None
    service_account: str | None = None
    network: str | None = None
    name: str | None = None  # of DNS, whose answer the address is
    tls_id: str | None = None  # the SPIFFE ID in whose name it answers; None: it has none
    plain_ports: tuple[int, ...] = ()  # of its own, where it speaks plaintext all the same
    token_ports: tuple[int, ...] = ()  # of its own, where it takes token identities

    def tls_id_at(self, port: int) -> str | None:
        """Return in whose name it answers at a port of its own; None: it speaks plaintext there."""
        return None if port in self.plain_ports else self.tls_id


class DnsRecord(Document, frozen=True):
    """The endpoints of one claim as policy names them; an `address` here may be a DNS name."""

    endpoints: tuple[EndpointRecord, ...]
    is_first_only: bool = False  # of each answer the first address is taken, and no other


class EndpointsRecord(Document, frozen=True):
    """The endpoints of one host, by the namespace of the claim.

    Where they are found by DNS, `dns` says what to look up: whoever publishes puts the answers
    into `by_namespace`, so that nobody who reads this needs a resolver.
    """

    by_namespace: dict[str, tuple[EndpointRecord, ...]]
    dns: dict[str, DnsRecord] | None = None


class Candidate(Document, frozen=True):
    """A resource that may apply to a host; in the order in which Istio would look."""

    namespace: str
    name: str
    export_to: tuple[str, ...]
    selector: Labels | None = None


class HostIndex(Document, frozen=True):
    """The resources that name one host or wildcard, oldest first."""

    candidates: tuple[Candidate, ...]


class PartialWildcards(Document, frozen=True):
    """Patterns such as `*foo.com`, by key prefix: too many could cover a host to look them up."""

    hosts: dict[str, list[str]]


class Vip(Document, frozen=True):
    """One host as the ServiceEntry of one namespace gives it an address."""

    host: str
    namespace: str


class VipIndex(Document, frozen=True):
    """Services by the IP address or CIDR block by which callers may name them."""

    services: dict[str, tuple[Vip, ...]]


class SidecarEntry(Document, frozen=True):
    """Which clients a Sidecar is for."""

    namespace: str
    name: str
    selector: Labels | None = None


class SidecarIndex(Document, frozen=True):
    """All Sidecars, oldest first."""

    sidecars: tuple[SidecarEntry, ...] = ()


class TelemetryEntry(Document, frozen=True):
    """Which workloads a Telemetry is for."""

    namespace: str
    name: str
    selector: Labels | None = None


class TelemetryIndex(Document, frozen=True):
    """All Telemetries, oldest first."""

    telemetries: tuple[TelemetryEntry, ...] = ()


class ServedHost(Document, frozen=True):
    """A service that a workload is behind; `ports` maps the service's port to the workload's."""

    host: str
    namespace: str
    ports: dict[str, int]  # JSON has string keys


class PeerModes(Document, frozen=True):
    """What a workload takes from its callers. Source: Istio PeerAuthentication."""

    mode: PeerMode = "PERMISSIVE"  # Istio's, where nothing is said
    ports: dict[str, PeerMode] = {}  # noqa: RUF012 - of the workload's own; JSON has string keys
    policy: str | None = None  # "namespace/name" of what decided `mode`; None: nothing did


class TokenModes(Document, frozen=True):
    """Where a workload takes token identities."""

    mode: TokenMode = "DISABLE"
    ports: dict[str, TokenMode] = {}  # noqa: RUF012 - of the workload's own; JSON has string keys


class BundleRecord(Document, frozen=True):
    """Who may vouch for the IDs of one trust domain, as PEM."""

    trust_domain: str
    roots: tuple[str, ...]
    intermediates: tuple[str, ...] = ()  # not trusted: for building paths
    tokens: tuple[dict[str, str], ...] = ()  # public keys (RFC 7517) of its token authority


class WorkloadRecord(Document, frozen=True):
    """What applies inbound to one workload."""

    labels: Labels
    service_account: str | None = None
    peer: PeerModes = PeerModes()
    tokens: TokenModes = TokenModes()
    probe_paths: tuple[str, ...] = ()  # where the daemon's own ID is admitted, and nowhere else
    address: str | None = None
    ports: dict[str, int] | None = None  # name -> number
    locality: str | None = None
    serves: tuple[ServedHost, ...] = ()  # empty where no VirtualService has a corsPolicy
    authorization: tuple[str, ...] = ()  # keys of the AuthorizationPolicies that select it
    authentication: tuple[str, ...] = ()  # keys of the RequestAuthentications that select it


class AuthorizationRecord(Document, frozen=True):
    """One AuthorizationPolicy, Istio's or ours."""

    spec: MeshAuthorizationPolicySpec  # Istio's fields are among its own
    is_dry_run: bool = False  # decided and told, never enforced


class PlaceRecord(Document, frozen=True):
    """Where a policy is written. Apart from it, so that a comment above it changes no rules."""

    file: str
    lines: tuple[int, ...] = ()  # of its rules, from 1

    def of(self, rule: int | None) -> str:
        """Return `file:line` of a rule, or the file where there is no line."""
        if rule is None or not 0 <= rule < len(self.lines):
            return self.file
        return f"{self.file}:{self.lines[rule]}"


class JwksRecord(Document, frozen=True):
    """The keys that are found at one address, as last fetched."""

    uri: str  # of the key set itself, or of an OpenID configuration that names it
    keys: str | None = None  # a JSON Web Key Set (RFC 7517); None: there never was one
