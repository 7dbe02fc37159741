"""Check RequestAuthentications: a slip in one lets nobody in, or lets in whom nobody meant.

What passes here compiles (`jwt_rules`), and each of its keys was read as a worker reads it.

Source: Istio's validation of RequestAuthentication.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from meshware.errors import TokenError
from meshware.policy.codes import DUPLICATE
from meshware.policy.document.request_authentication import JWTRule, RequestAuthenticationSpec
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.fields import check_duration
from meshware.policy.validate.grammar import is_token
from meshware.policy.yaml12 import brief

__all__ = ["check_request_authentication"]

# Istio's, without underscores: servers of WSGI take those for dashes, or drop the header.
_OUTPUT = re.compile(r"[-A-Za-z0-9]+")
_NO_OUTPUT = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "origin",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-forwarded-client-cert",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
    }
)
"""Headers by which others decide: no claim may stand in them, and no caller's may be lost."""

_PREFIX = re.compile(r"[!-~][ -~]*")  # visible, and one comma less: see below
_COOKIE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


# What servers and the mesh read, and callers send with every request.
_NO_PLACE = _NO_OUTPUT - {"authorization", "proxy-authorization"}


def _is_ours(name: str) -> bool:
    return name.lower().startswith(("x-envoy-", "x-meshware-"))


def check_request_authentication(resource: Resource, report: Report) -> None:
    """Report what is wrong with one RequestAuthentication by itself."""
    spec = resource.spec
    if not isinstance(spec, RequestAuthenticationSpec):
        return
    if not spec.jwt_rules:
        report.warning(
            resource, "spec.jwtRules", "this policy has no rule and changes nothing; add one"
        )
    for index, rule in enumerate(spec.jwt_rules or ()):
        _Checker(resource, report, f"spec.jwtRules[{index}]").rule(rule)


class _Checker:
    """Looks at one rule."""

    def __init__(self, resource: Resource, report: Report, path: str) -> None:
        self._resource, self._report, self._path = resource, report, path

    def rule(self, rule: JWTRule) -> None:
        self._issuer(rule)
        self._keys(rule)
        self._texts("audiences", rule.audiences, "an audience")
        self._headers(rule)
        self._texts("fromParams", rule.from_params, "the name of a parameter")
        self._texts("fromCookies", rule.from_cookies, "the name of a cookie")
        for index, name in enumerate(rule.from_cookies or ()):
            if name and not _COOKIE.fullmatch(name):
                here = f"fromCookies[{index}]"
                self._error(here, f"{brief(name)!r} cannot name a cookie; mend it (RFC 6265)")
        self._texts("spaceDelimitedClaims", rule.space_delimited_claims, "the name of a claim")
        self._outputs(rule)
        where = f"{self._path}.timeout"
        check_duration(self._resource, where, rule.timeout, self._report, ", or remove it for 5s")

    # --- whose tokens, and by which keys -------------------------------------------------------

    def _issuer(self, rule: JWTRule) -> None:
        if rule.issuer:
            return
        if not (rule.jwks_uri or rule.jwks_uri_snake):
            self._error("issuer", "a rule needs an issuer, or else a jwksUri; add issuer")
        else:
            self._warning(
                "issuer",
                "without an issuer a token may name any, and its principal begins with that; add "
                "the issuer of these keys",
            )

    def _keys(self, rule: JWTRule) -> None:
        uris = [uri for uri in (rule.jwks_uri, rule.jwks_uri_snake) if uri is not None]
        if len(uris) + (rule.jwks is not None) > 1:
            self._error("jwks", "keys stand in jwks, or at a jwksUri; write one of them")
            return
        if rule.jwks is not None:
            self._jwks(rule.jwks)
        elif uris and not uris[0]:
            name = "jwksUri" if rule.jwks_uri is not None else "jwks_uri"
            self._error(name, "it is empty, and no address; write https://host/path")
        # Whether keys may be fetched from an address is looked at for all of them: `token_keys`.

    def _jwks(self, text: str) -> None:
        from meshware.identity.jwks import read_jwks  # it is not light, and few policies have keys

        try:
            found = read_jwks(text)
        except TokenError as error:
            self._error("jwks", f"these keys cannot be used: {error}; write a JSON Web Key Set")
            return
        for key in found.skipped:
            self._warning(
                "jwks", f"keys[{key.position}] is passed over: {key.why}; mend or remove it"
            )
        if not found.keys:
            self._warning(
                "jwks", "no key is left that could verify, so every token is refused; add one"
            )

    # --- where tokens stand --------------------------------------------------------------------

    def _headers(self, rule: JWTRule) -> None:
        self._not_empty("fromHeaders", rule.from_headers, "a header")
        seen: set[tuple[str, str]] = set()
        for index, header in enumerate(rule.from_headers or ()):
            here = f"fromHeaders[{index}]"
            if not is_token(header.name):
                self._error(
                    f"{here}.name", f"{brief(header.name)!r} is no name of a header; mend it"
                )
            elif "_" in header.name:
                self._error(
                    f"{here}.name",
                    f"{brief(header.name)} has an underscore, which servers drop or take for a "
                    "dash; write a name without",
                )
            elif header.name.lower() in _NO_PLACE or _is_ours(header.name):
                self._error(
                    f"{here}.name",
                    f"{header.name} has a meaning of its own, and bears no token; write another",
                )
            prefix = header.prefix or ""
            if prefix and (not _PREFIX.fullmatch(prefix) or "," in prefix):
                # Servers of WSGI join two lines with a comma, which could not be told from its own.
                self._error(
                    f"{here}.prefix",
                    f"{brief(prefix)!r} cannot stand before a token; write visible characters of "
                    "ASCII without a comma",
                )
            if (header.name.lower(), prefix) in seen:
                self._error(here, f"{brief(header.name)} is there twice; remove one", DUPLICATE)
            seen.add((header.name.lower(), prefix))

    # --- what the app gets ---------------------------------------------------------------------

    def _outputs(self, rule: JWTRule) -> None:
        places = {header.name.lower() for header in rule.from_headers or ()}
        if not (rule.from_headers or rule.from_params or rule.from_cookies):
            places.add("authorization")
        seen: set[str] = set()
        if rule.output_payload_to_header is not None:
            self._output("outputPayloadToHeader", rule.output_payload_to_header, places, seen)
        for index, output in enumerate(rule.output_claim_to_headers or ()):
            here = f"outputClaimToHeaders[{index}]"
            self._output(f"{here}.header", output.header, places, seen)
            if not all(output.claim.split(".")):
                self._error(
                    f"{here}.claim",
                    f"{brief(output.claim)!r} names no claim; write a name, with dots for claims "
                    "within claims",
                )

    def _output(self, field: str, name: str, places: set[str], seen: set[str]) -> None:
        folded = name.lower()
        if not _OUTPUT.fullmatch(name):
            self._error(
                field,
                f"{brief(name)!r} cannot be a header for the app; write letters, digits and dashes",
            )
        elif folded in _NO_OUTPUT or _is_ours(name):
            self._error(field, f"{name} has a meaning of its own; write another name")
        elif folded in places:
            self._error(field, f"{name} is where tokens stand; write another name")
        elif folded in seen:
            self._error(field, f"{name} is set twice; write another name", DUPLICATE)
        seen.add(folded)

    # --- words ---------------------------------------------------------------------------------

    def _texts(self, field: str, values: Sequence[str] | None, what: str) -> None:
        self._not_empty(field, values, what)
        seen: set[str] = set()
        for index, value in enumerate(values or ()):
            if not value:
                self._error(f"{field}[{index}]", f"this is empty; write {what}")
            elif value in seen:
                self._warning(f"{field}[{index}]", f"{brief(value)!r} is there twice; remove one")
            seen.add(value)

    def _not_empty(self, field: str, values: Sequence[object] | None, what: str) -> None:
        if values is not None and not values:
            self._error(
                field,
                f"{field} is an empty list, which could mean all or nothing; add {what}, or "
                "remove it",
            )

    def _error(self, field: str, message: str, code: str | None = None) -> None:
        where = f"{self._path}.{field}"
        if code is None:
            self._report.error(self._resource, where, message)
        else:
            self._report.error(self._resource, where, message, code)

    def _warning(self, field: str, message: str) -> None:
        self._report.warning(self._resource, f"{self._path}.{field}", message)
