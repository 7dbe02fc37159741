"""Values of AuthorizationPolicies as Envoy's matchers: `abc`, `abc*`, `*abc`, `*`, templates.

What a policy writes is text. Where a regular expression is the only way to say something, its
characters are escaped: a dot in a namespace or a service account is a dot.

Source: Istio, AuthorizationPolicy, "Value syntax"; Envoy StringMatcher, HeaderMatcher,
UriTemplateMatchConfig.
"""

from __future__ import annotations

import re

from meshware.envoy.values import Json, any_of
from meshware.policy.addresses import parse_block
from meshware.policy.paths import capital_hex

__all__ = [
    "block",
    "header",
    "host",
    "path",
    "principal_name",
    "regex",
    "text",
]

_SPIFFE = "spiffe://"
_TEMPLATE = "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"

# What RE2 takes for more than itself.
_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$])")


def regex(expression: str) -> Json:
    """Return a StringMatcher of a regular expression that must match all of a text."""
    return {"safe_regex": {"regex": expression}}


def literal(value: str) -> str:
    """Return the regular expression of a text."""
    return _SPECIAL.sub(r"\\\1", value)


def text(value: str) -> Json:
    """Return the StringMatcher of a value; `*` takes any text but an empty one."""
    if value == "*":
        return regex(".+")
    if value.startswith("*"):
        return {"suffix": value[1:]}
    if value.endswith("*"):
        return {"prefix": value[:-1]}
    return {"exact": value}


def header(name: str, value: str) -> Json:
    """Return the HeaderMatcher of a value; `*` takes an empty header as well."""
    if value == "*":
        return {"name": name, "present_match": True}
    return {"name": name, "string_match": text(value)}


def host(value: str) -> Json:
    """Return the HeaderMatcher of a value of `hosts`: in any case, with the port that it has."""
    found = header(":authority", value)
    if "string_match" in found:
        found["string_match"]["ignore_case"] = True
    return found


def path(value: str) -> Json:
    """Return the permission of a value of `paths`."""
    value = capital_hex(value)
    if "{*}" in value or "{**}" in value:
        template = value.replace("{*}", "*").replace("{**}", "**")
        config = any_of(_TEMPLATE, path_template=template)
        return {"uri_template": {"name": "uri-template", "typed_config": config}}
    return {"url_path": {"path": text(value)}}


def principal_name(value: str) -> Json:
    """Return the StringMatcher of a value of `principals`: a SPIFFE ID without its scheme."""
    if value == "*":
        return regex(".+")
    if value.startswith("*"):
        return regex(f"{_SPIFFE}.*{literal(value[1:])}")
    if value.endswith("*"):
        return {"prefix": _SPIFFE + value[:-1]}
    return {"exact": _SPIFFE + value}


def block(value: str) -> Json:
    """Return the CidrRange of an address or a block."""
    found = parse_block(value)
    return {"address_prefix": str(found.network_address), "prefix_len": found.prefixlen}
