"""Check MeshConfig's extensionProviders: that each is one thing, and how authorizers are asked.

What takes metrics, spans and logs is `validate.telemetry_providers`' matter.

Source: Istio, `ValidateExtensionProvider`; Envoy, `ext_authz`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from meshware.policy.authorizers import FRAMING, service_host
from meshware.policy.codes import NOT_APPLICABLE, UNKNOWN_REFERENCE
from meshware.policy.document.mesh_config import (
    MOST_BODY_BYTES,
    AuthzProviderHttp,
    ExtensionProvider,
    IncludeRequestBody,
    InProcessAuthorizer,
    MeshConfigSpec,
)
from meshware.policy.edits import parse_value
from meshware.policy.parse import Resource
from meshware.policy.validate.authorization_values import is_token
from meshware.policy.validate.common import Report
from meshware.policy.validate.grammar import bad_host
from meshware.policy.validate.hints import Hints
from meshware.policy.validate.registry import Registry
from meshware.policy.yaml12 import brief

__all__ = ["check_provider_services", "check_providers"]

_STATUS = re.compile(r"[45][0-9]{2}")
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_SHORTEST_S = 0.001
_NEVER_SET = FRAMING | {"host"}


def check_providers(resource: Resource, report: Report) -> None:
    """Report what is wrong with the extensionProviders of one MeshConfig."""
    spec = resource.spec
    if not isinstance(spec, MeshConfigSpec):
        return
    seen: set[str] = set()
    for index, provider in enumerate(spec.extension_providers or ()):
        here = f"spec.extensionProviders[{index}]"
        if not provider.name:
            report.error(resource, f"{here}.name", "name is empty; write one for policies to use")
        elif provider.name.casefold() in seen:
            report.error(
                resource,
                f"{here}.name",
                f"there are two extensionProviders {brief(provider.name)!r}; rename one",
            )
        seen.add(provider.name.casefold())  # Telemetry names them without case
        _Checker(resource, here, report).provider(provider)


class _Checker:
    """Looks at one provider."""

    def __init__(self, resource: Resource, path: str, report: Report) -> None:
        self._resource, self._path, self._report = resource, path, report

    def provider(self, provider: ExtensionProvider) -> None:
        http, function = provider.envoy_ext_authz_http, provider.in_process
        written = [
            name
            for name, value in (
                ("envoyExtAuthzHttp", http),
                ("inProcess", function),
                ("prometheus", provider.prometheus),
                ("envoyFileAccessLog", provider.envoy_file_access_log),
                ("opentelemetry", provider.opentelemetry),
            )
            if value is not None
        ]
        if len(written) != 1:
            what = f"this has {' and '.join(written)}" if written else "this has nothing"
            self._error(
                "",
                f"a provider is one thing, and {what}; write one of envoyExtAuthzHttp, inProcess, "
                "prometheus, envoyFileAccessLog and opentelemetry",
            )
            return
        if http is not None:
            self._path += ".envoyExtAuthzHttp"
            self._common(http)
            self._http(http)
        elif function is not None:
            self._path += ".inProcess"
            self._common(function)

    def _common(self, written: AuthzProviderHttp | InProcessAuthorizer) -> None:
        if written.timeout is not None and written.timeout < _SHORTEST_S:
            self._error("timeout", "timeout is too short; write at least 1ms")
        status = written.status_on_error
        if status is not None and not _STATUS.fullmatch(status):
            self._error(
                "statusOnError",
                f'statusOnError is {brief(status)!r}; write the status of a refusal, "400" to '
                '"599"',
            )
        if written.include_request_body_in_check is not None:
            self._body(written.include_request_body_in_check)

    def _body(self, body: IncludeRequestBody) -> None:
        if body.max_request_bytes is None:
            self._error(
                "includeRequestBodyInCheck.maxRequestBytes",
                f"maxRequestBytes is missing; write 1 to {MOST_BODY_BYTES}, which is kept in "
                "memory for each request",
            )
        if body.pack_as_bytes:
            self._error(
                "includeRequestBodyInCheck.packAsBytes",
                "packAsBytes is for authorizers that speak gRPC; over HTTP a body is bytes "
                "anyway: remove it",
                NOT_APPLICABLE,
            )

    def _http(self, http: AuthzProviderHttp) -> None:
        host = service_host(http.service)
        wrong = bad_host(host, may_be_pattern=False)
        if wrong is not None or http.service.count("/") > 1:
            wrong = wrong or "write host, or namespace/host"
            self._error("service", f"service is {brief(http.service)!r}; {wrong}")
        elif "." not in host:
            self._error(
                "service",
                f"service is {brief(http.service)!r}, which is another one in each namespace; "
                f"write NAMESPACE/{brief(host)}, or the whole name",
            )
        if not 1 <= http.port <= 65535:
            self._error("port", f"port is {http.port}; write 1 to 65535")
        prefix = http.path_prefix
        if prefix and not _PATH.fullmatch(prefix):
            self._error(
                "pathPrefix", f"pathPrefix is {brief(prefix)!r}; write a path: it begins with `/`"
            )
        for field, patterns in (
            ("includeRequestHeadersInCheck", http.include_request_headers_in_check),
            ("headersToUpstreamOnAllow", http.headers_to_upstream_on_allow),
            ("headersToDownstreamOnDeny", http.headers_to_downstream_on_deny),
            ("headersToDownstreamOnAllow", http.headers_to_downstream_on_allow),
        ):
            self._patterns(field, patterns or ())
        self._added(http.include_additional_headers_in_check or {})

    def _patterns(self, field: str, patterns: Iterable[str]) -> None:
        for index, pattern in enumerate(patterns):
            bare = pattern.removeprefix("*") if pattern[:1] == "*" else pattern.removesuffix("*")
            if not is_token(bare) or "*" in bare:
                self._error(
                    f"{field}[{index}]",
                    f"{field}[{index}] is {brief(pattern)!r}; write a header's name, with one `*` "
                    "behind or before it for all that begin or end so",
                )

    def _added(self, added: Mapping[str, str]) -> None:
        for name, value in added.items():
            here = f"includeAdditionalHeadersInCheck[{name}]"
            if not is_token(name):
                self._error(here, f"{brief(name)!r} is no name of a header; write another")
            elif name.lower() in _NEVER_SET:
                self._error(
                    here, f"{name} belongs to the message itself and cannot be set; remove it"
                )
            elif not _VALUE.fullmatch(value):
                self._error(here, "the value can be no header's; write visible ASCII characters")
            else:
                self._command(here, value)

    def _command(self, here: str, value: str) -> None:
        try:
            parse_value(value)
        except ValueError as error:
            self._error(
                here,
                f"there is no command {brief(str(error))!r}; write %REQ(name)%, %REQ(name?other)% "
                "or %% for a percent sign",
            )

    def _error(self, field: str, message: str, code: str | None = None) -> None:
        where = f"{self._path}.{field}" if field else self._path
        if code is None:
            self._report.error(self._resource, where, message)
        else:
            self._report.error(self._resource, where, message, code)


def check_provider_services(registry: Registry, report: Report) -> None:
    """Report authorizers that are no service, or have no such port."""
    for resource in registry.resources:
        spec = resource.spec
        if not isinstance(spec, MeshConfigSpec):
            continue
        for index, provider in enumerate(spec.extension_providers or ()):
            http = provider.envoy_ext_authz_http
            if http is not None:
                for field, message in _about_service(registry, resource, http):
                    here = f"spec.extensionProviders[{index}].envoyExtAuthzHttp.{field}"
                    report.error(resource, here, message, UNKNOWN_REFERENCE)


def _about_service(
    registry: Registry, resource: Resource, http: AuthzProviderHttp
) -> Iterator[tuple[str, str]]:
    """Yield the field and the message of what nobody declares."""
    host = service_host(http.service).lower()
    namespace, slash, _ = http.service.rpartition("/")
    if bad_host(host, may_be_pattern=False) is not None or "." not in host or "/" in namespace:
        return  # told of already
    claims = [
        claim
        for claim in registry.claims_of(host)
        if not slash or claim.resource.namespace == namespace
    ]
    if not claims:
        where = f" in namespace {brief(namespace)}" if slash else ""
        hint = Hints(registry).for_host(host, resource.namespace)
        yield "service", f"no ServiceEntry{where} has the host {brief(host, 100)}; {hint}"
        return
    ports = {port for claim in claims for port in claim.ports}
    if http.port not in ports and 1 <= http.port <= 65535:
        there = ", ".join(map(str, sorted(ports))) or "none"
        yield "port", f"{brief(host, 100)} has no port {http.port}; it has {there}"
