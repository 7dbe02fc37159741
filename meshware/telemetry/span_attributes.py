"""What spans say of calls: HTTP's semantic conventions, Envoy's and Istio's tags, and the mesh's.

Sources: OpenTelemetry semantic conventions, "HTTP spans"; Envoy, "Tracing"; Istio Telemetry,
`enableIstioTags` and `customTags`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from meshware.call import ExchangeInfo, HeaderLookup
from meshware.events import InboundEvent, OutboundEvent, Try
from meshware.policy.labels import canonical_revision, canonical_service
from meshware.policy.telemetry_plan import TracingPlan
from meshware.telemetry.redaction import without_secrets, without_tokens
from meshware.telemetry.span_ring import Value

__all__ = ["Workload", "custom", "of_answer", "of_attempt", "of_inbound", "of_outbound", "shorten"]

_SERVER_ERROR = 500
_CLIENT_ERROR = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Whose spans these are."""

    name: str  # of the workload; "" for none
    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    trust_domain: str = "cluster.local"

    @property
    def service(self) -> str:
        """Istio's canonical name."""
        return canonical_service(self.labels, self.name or "unknown")

    @property
    def revision(self) -> str:
        """Istio's canonical revision."""
        return canonical_revision(self.labels)

    @property
    def resource(self) -> dict[str, str]:
        """What is said of the process, in OpenTelemetry's words; names as Istio's spans have."""
        return {
            "service.name": f"{self.service}.{self.namespace}",
            "service.version": self.revision,
            "service.namespace": self.namespace,
        }

    @property
    def tags(self) -> dict[str, Value]:
        """Istio's tags."""
        return {
            "istio.canonical_service": self.service,
            "istio.canonical_revision": self.revision,
            "istio.mesh_id": self.trust_domain,
            "istio.namespace": self.namespace,
        }


def of_inbound(event: InboundEvent, version: str) -> dict[str, Value]:
    """Return the attributes of a server span, and whether it went wrong as `error`.

    Args:
        event: how the call went.
        version: of HTTP.
    """
    head, path = event.head, without_tokens(event.path)
    said: dict[str, Value] = {
        "http.request.method": event.method,
        "url.scheme": head.scheme,
        "url.path": path,
        "network.protocol.version": version,
        "meshware.generation": event.generation,
        "component": "proxy",
        "http.method": event.method,
        "http.url": f"{head.scheme}://{without_secrets(event.host)}{path}",
        "http.protocol": f"HTTP/{version}",
        "http.status_code": str(event.status),
        "guid:x-request-id": event.request_id,
        "response_flags": event.flags,
        "request_size": event.received_bytes,
        "response_size": event.sent_bytes,
    }
    if event.status:
        said["http.response.status_code"] = event.status
    host, port = _parts(event.host, head.port)
    if host:
        said["server.address"] = host
    if port is not None:
        said["server.port"] = port
    _put(said, "http.route", event.route)
    _put(said, "client.address", event.source_ip)
    _put(said, "peer.address", event.source_ip)
    _put(said, "user_agent.original", _one(head.headers, "user-agent"))
    _put(said, "user_agent", _one(head.headers, "user-agent"))
    peer = event.peer
    if peer is not None:
        said["meshware.peer"] = peer.id
    if event.flag is not None:
        said["meshware.flags"] = event.flags
    if event.is_refused:
        said["meshware.refused"] = event.reason
        _put(said, "meshware.policy", event.policy)
    call = event.call
    if call is not None and call.deadline_at is not None:
        said["meshware.deadline_s"] = round(call.deadline_at - event.passage.started_at, 6)
    _put(said, "error.type", event.exception)
    if event.status >= _SERVER_ERROR or event.exception is not None:
        said["error"] = True
        said.setdefault("error.type", str(event.status))
    return said


def of_outbound(event: OutboundEvent, deadline_s: float | None) -> dict[str, Value]:
    """Return the attributes of a client span.

    Args:
        event: how the call went.
        deadline_s: what it had for its response headers; None: no limit.
    """
    head = event.head
    said: dict[str, Value] = {
        "http.request.method": event.method,
        "meshware.generation": event.generation,
        "meshware.service": event.service,
        "meshware.attempts": event.attempts,
        "component": "proxy",
        "http.method": event.method,
        "http.status_code": str(event.status),
        "response_flags": event.flags,
        "response_size": event.received_bytes,
    }
    if event.status:
        said["http.response.status_code"] = event.status
    if head is not None:
        path = without_tokens(head.target.partition("?")[0])
        said["url.full"] = f"{head.scheme}://{without_secrets(head.authority)}{path}"
        said["http.url"] = said["url.full"]
        said["server.address"], said["server.port"] = head.host, head.port
        _put(said, "user_agent", _one(head.headers, "user-agent"))
    _put(said, "upstream_cluster", event.cluster)
    _put(said, "meshware.route", event.route)
    _put(said, "meshware.endpoint", event.endpoint)
    _put(said, "peer.address", event.endpoint)
    if event.flags != "-":
        said["meshware.flags"] = event.flags
    if deadline_s is not None:
        said["meshware.deadline_s"] = round(deadline_s, 6)
    if event.attempts > 1:
        said["http.request.resend_count"] = event.attempts - 1
    if event.status >= _CLIENT_ERROR or not event.status:
        failure = (
            event.tries[-1].failure if event.tries and "DC" not in event.flags.split(",") else None
        )
        said["error.type"] = str(event.status) if event.status else failure or "cancelled"
    if event.status >= _SERVER_ERROR or not event.status:
        said["error"] = True
    return said


def of_answer(info: ExchangeInfo, generation: int) -> dict[str, Value]:
    """Return what is known of an outbound call when its answer goes to its caller.

    Args:
        info: what the mesh did for it.
        generation: of the policy.
    """
    said: dict[str, Value] = {
        "meshware.generation": generation,
        "meshware.attempts": info.attempts,
    }
    _put(said, "meshware.endpoint", info.endpoint)
    _put(said, "meshware.route", info.route)
    if info.flags != "-":
        said["meshware.flags"] = info.flags
    return said


def of_attempt(tried: Try, timeout_s: float | None) -> dict[str, Value]:
    """Return the attributes of the span of one attempt.

    Args:
        tried: how it went.
        timeout_s: until its response headers; None: no limit.
    """
    said: dict[str, Value] = {
        "meshware.attempt": tried.number,
    }
    _put(said, "meshware.endpoint", tried.endpoint)
    _put(said, "peer.address", tried.endpoint)
    if tried.number > 1:
        said["http.request.resend_count"] = tried.number - 1
    if timeout_s is not None:
        said["meshware.deadline_s"] = round(timeout_s, 6)
    if tried.status:
        said["http.response.status_code"] = tried.status
        said["http.status_code"] = str(tried.status)
    if tried.failure is not None:
        said["error.type"] = tried.failure
        _put(said, "meshware.failure", tried.detail)
    elif tried.status >= _CLIENT_ERROR:
        said["error.type"] = str(tried.status)
    if tried.failure is not None or tried.status >= _SERVER_ERROR:
        said["error"] = True
    return said


def custom(
    plan: TracingPlan,
    workload: Workload,
    headers: HeaderLookup,
    environ: Mapping[str, str],
    formatted: Callable[[str], str | None],
) -> dict[str, Value]:
    """Return what policy adds: Istio's tags, and its own.

    Args:
        plan: of the call.
        workload: whose spans these are.
        headers: of the request.
        environ: for tags.
        formatted: writes the call by an access log format; None: there is nothing to say.
    """
    said: dict[str, Value] = workload.tags if plan.has_istio_tags else {}
    for tag in plan.tags:
        value = tag.literal
        if tag.environment is not None:
            value = environ.get(tag.environment)
        elif tag.header is not None:
            value = _one(headers, tag.header)
        elif tag.formatter is not None:
            value = formatted(tag.formatter)
        if value is None:
            value = tag.default
        if value is not None:
            said[tag.name] = value
    return said


def shorten(said: dict[str, Value], longest: int) -> None:
    """Cut the path in `http.url`.

    Args:
        said: attributes of a span.
        longest: characters of the path. Source: Envoy, `max_path_tag_length`.
    """
    url = said.get("http.url")
    if isinstance(url, str) and len(url) > longest:
        begin = url.find("/", url.find("://") + 3)
        said["http.url"] = url[: begin + longest] if begin >= 0 else url


def _put(said: dict[str, Value], name: str, value: str | None) -> None:
    if value:
        said[name] = value


def _one(headers: HeaderLookup, name: str) -> str | None:
    values = headers(name)
    return values[0] if values else None


def _parts(authority: str, port: int | None) -> tuple[str, int | None]:
    """Return host and port of a Host header."""
    host, colon, number = authority.rpartition(":")
    if colon and number.isdigit() and len(number) <= 5:  # noqa: PLR2004 - 65535
        return host, int(number)
    return authority, port
