"""Compile MeshConfig's extensionProviders into the authorizers that CUSTOM rules ask.

Source: Istio MeshConfig, `ExtensionProvider.EnvoyExternalAuthorizationHttpProvider`; Envoy,
`ext_authz` with an `http_service`. `inProcess` is ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from meshware.policy.document.mesh_config import (
    AuthzProviderHttp,
    ExtensionProvider,
    IncludeRequestBody,
    InProcessAuthorizer,
)
from meshware.policy.document.virtual_service import HeaderOperations
from meshware.policy.edits import HeaderEdit, compile_edit
from meshware.policy.match import Patterns

__all__ = [
    "FRAMING",
    "Authorizer",
    "BodyRule",
    "HttpAuthorizer",
    "ProcessAuthorizer",
    "compile_authorizer",
    "service_host",
]

HTTP_TIMEOUT_S = 600.0
"""Istio's, long enough to leave the time-out to a DestinationRule or VirtualService."""

PROCESS_TIMEOUT_S = 5.0
"""A function of the app has no reason to take long, and its caller waits."""

STATUS_ON_ERROR = 403  # Envoy's

FRAMING = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers about one connection or one message; they go from none to another."""


@dataclass(frozen=True, slots=True)
class BodyRule:
    """How much of a request's body an authorizer is shown."""

    most_bytes: int
    may_be_partial: bool  # False: a larger one is refused with 413


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessAuthorizer:
    """A function of this process."""

    name: str
    timeout_s: float
    fail_open: bool
    status_on_error: int
    body: BodyRule | None  # None: it is not shown


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAuthorizer:
    """A service of the mesh. Header names and patterns are in lower case."""

    name: str
    host: str
    port: int
    timeout_s: float
    fail_open: bool
    status_on_error: int
    body: BodyRule | None
    path_prefix: str
    shows: Patterns | None  # headers of the request, besides those that always go
    adds: HeaderEdit | None  # headers of our own, in place of those
    to_app: Patterns | None  # of its headers, to the app, when it allows
    to_caller_on_deny: Patterns | None  # None: all of them
    to_caller_on_allow: Patterns | None

    @property
    def reads(self) -> frozenset[str]:
        """The headers that it goes by or sets, as far as they are named; lower case."""
        named = (patterns.exact for patterns in (self.shows, self.to_app) if patterns is not None)
        return frozenset().union(*named)


Authorizer = HttpAuthorizer | ProcessAuthorizer


def compile_authorizer(provider: ExtensionProvider) -> Authorizer | None:
    """Return a provider's authorizer; None: it has none.

    Raises:
        ValueError: it cannot be asked as it is written.
    """
    if provider.in_process is not None:
        return _in_process(provider.name, provider.in_process)
    if provider.envoy_ext_authz_http is not None:
        return _http(provider.name, provider.envoy_ext_authz_http)
    return None


def service_host(written: str) -> str:
    """Return the host of an authorizer's service: `host`, or `namespace/host`.

    Source: Istio, `service`: "[<Namespace>/]<Hostname>". Differs from Istio: a host without a dot
    is a service of the namespace that is written before it, as it would be in a ServiceEntry.
    """
    namespace, slash, host = written.rpartition("/")
    if slash and "." not in host:
        return f"{host}.{namespace}.svc.cluster.local"
    return host


def _in_process(name: str, written: InProcessAuthorizer) -> ProcessAuthorizer:
    return ProcessAuthorizer(
        name=name,
        timeout_s=PROCESS_TIMEOUT_S if written.timeout is None else written.timeout,
        fail_open=bool(written.fail_open),
        status_on_error=_status(written.status_on_error),
        body=_body(written.include_request_body_in_check),
    )


def _http(name: str, written: AuthzProviderHttp) -> HttpAuthorizer:
    added = written.include_additional_headers_in_check
    return HttpAuthorizer(
        name=name,
        host=service_host(written.service).lower(),
        port=written.port,
        timeout_s=HTTP_TIMEOUT_S if written.timeout is None else written.timeout,
        fail_open=bool(written.fail_open),
        status_on_error=_status(written.status_on_error),
        body=_body(written.include_request_body_in_check),
        path_prefix=written.path_prefix or "",
        shows=_patterns(written.include_request_headers_in_check),
        adds=compile_edit([HeaderOperations(set=added)]) if added else None,
        to_app=_patterns(written.headers_to_upstream_on_allow),
        to_caller_on_deny=_patterns(written.headers_to_downstream_on_deny),
        to_caller_on_allow=_patterns(written.headers_to_downstream_on_allow),
    )


def _status(written: str | None) -> int:
    return STATUS_ON_ERROR if written is None else int(written)


def _body(written: IncludeRequestBody | None) -> BodyRule | None:
    if written is None or not written.max_request_bytes:
        return None
    return BodyRule(written.max_request_bytes, bool(written.allow_partial_message))


def _patterns(written: Iterable[str] | None) -> Patterns | None:
    values = [value.lower() for value in written or ()]
    return Patterns(values) if values else None
