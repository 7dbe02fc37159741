"""AuthorizationPolicy read rule by rule, as its reference says: plain, the oracle of the index.

It shares nothing with the mesh but the shapes of policies and facts: whatever is compared here is
compared by its own words.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

DOMAIN = "cluster.local"
ADDRESS_OF = {
    "source.ip": "source_ip",
    "remote.ip": "remote_ip",
    "destination.ip": "destination_ip",
}
SINGLE = {"authorization", "cookie", "date", "host", "user-agent", "content-type"}


def decide(
    policies: Sequence[Any],
    facts: Any,
    paths: Sequence[str],
    partial: Sequence[str] = (),
    domains: Sequence[str] = (DOMAIN,),
) -> tuple[bool, str | None, int | None]:
    """Whether a call may pass, and the policy and rule that say so."""
    enforced = [policy for policy in policies if not policy.is_dry_run]
    for path in (*paths, *partial):
        found = first(enforced, "DENY", facts, path, domains)
        if found is not None:
            return False, *found
    if not of_action(enforced, "ALLOW"):
        return True, None, None
    allowed = [first(enforced, "ALLOW", facts, path, domains) for path in paths]
    if not allowed or None in allowed or allowed[0] is None:
        return False, None, None
    return True, *allowed[0]


def of_action(policies: Sequence[Any], action: str) -> list[Any]:
    """The policies of an action."""
    return [policy for policy in policies if (policy.spec.action or "ALLOW") == action]


def first(
    policies: Sequence[Any],
    action: str,
    facts: Any,
    path: str,
    domains: Sequence[str] = (DOMAIN,),
) -> tuple[str, int] | None:
    """The first rule of an action that matches."""
    for policy in of_action(policies, action):
        for number, rule in enumerate(policy.spec.rules or ()):
            if _rule(rule, policy.namespace, facts, path, domains, action != "ALLOW"):
                return f"{policy.namespace}/{policy.name}", number
    return None


def _rule(  # noqa: PLR0917 - all of it is asked for
    rule: Any, home: str, facts: Any, path: str, domains: Sequence[str], refuses: bool
) -> bool:
    is_from = not rule.from_ or any(
        _source(one.source, home, facts, domains, refuses) for one in rule.from_
    )
    is_to = not rule.to or any(_operation(one.operation, facts, path, refuses) for one in rule.to)
    return (
        is_from
        and is_to
        and all(_condition(one, home, facts, domains, refuses) for one in rule.when or ())
    )


def _both(
    wanted: Sequence[str] | None, unwanted: Sequence[str] | None, test: Callable[[str], bool]
) -> bool:
    return (not wanted or any(test(value) for value in wanted)) and not any(
        test(value) for value in unwanted or ()
    )


def _fits(value: str, text: str, *, empty: bool = False) -> bool:
    if value == "*":
        return empty or text != ""
    if value.startswith("*"):
        return text.endswith(value[1:])
    if value.endswith("*"):
        return text.startswith(value[:-1])
    return text == value


# --- from -----------------------------------------------------------------------------------------


def _source(source: Any, home: str, facts: Any, domains: Sequence[str], refuses: bool) -> bool:
    if source is None:
        return True
    return (
        _both(source.principals, source.not_principals, lambda v: _principal(v, facts, domains))
        and _both(source.namespaces, source.not_namespaces, lambda v: _namespace(v, facts))
        and _both(
            source.service_accounts,
            source.not_service_accounts,
            lambda v: _account(v, home, facts),
        )
        and _both(source.trust_domains, source.not_trust_domains, lambda v: _of(v, facts, domains))
        and _user(source.request_principals, source.not_request_principals, facts, refuses)
        and _address(source.ip_blocks, source.not_ip_blocks, facts.source_ip, refuses)
        and _address(source.remote_ip_blocks, source.not_remote_ip_blocks, facts.remote_ip, refuses)
    )


def _parts(facts: Any) -> tuple[str, str] | None:
    """Namespace and account of a caller."""
    if facts.peer is None:
        return None
    found = re.fullmatch(r"spiffe://[^/]+/ns/([^/]+)/sa/([^/]+)", str(facts.peer))
    return None if found is None else (found[1], found[2])


def _principal(value: str, facts: Any, domains: Sequence[str]) -> bool:
    if facts.peer is None:
        return False
    own = {*domains, DOMAIN}
    text = str(facts.peer).removeprefix("spiffe://")
    domain, _, rest = value.partition("/")
    if rest and domain in own:
        return any(_fits(f"{each}/{rest}", text) for each in own)
    return _fits(value, text)


def _namespace(value: str, facts: Any) -> bool:
    parts = _parts(facts)
    pattern = ".*".join(re.escape(piece) for piece in value.split("*"))
    return parts is not None and re.fullmatch(pattern, parts[0]) is not None


def _account(value: str, home: str, facts: Any) -> bool:
    return (tuple(value.split("/")) if "/" in value else (home, value)) == _parts(facts)


def _of(value: str, facts: Any, domains: Sequence[str]) -> bool:
    if facts.peer is None:
        return False
    own = {*domains, DOMAIN}
    domain = str(facts.peer).removeprefix("spiffe://").partition("/")[0]
    return domain in own if value in own else _fits(value, domain)


def _user(
    wanted: Sequence[str] | None, unwanted: Sequence[str] | None, facts: Any, refuses: bool
) -> bool:
    """What doubt there is about a principal with many slashes refuses."""
    return (not wanted or any(_end_user(value, facts, refuses) for value in wanted)) and not any(
        _end_user(value, facts, not refuses) for value in unwanted or ()
    )


def _end_user(value: str, facts: Any, doubtful: bool) -> bool:
    user = facts.user
    if user is None or user.principal is None:
        return False
    if doubtful and value == user.principal:
        return True
    issuer, subject = user.claims["iss"], user.claims["sub"]
    of_issuer, slash, of_subject = value.rpartition("/")
    if value == "*":
        return issuer != "" and subject != ""
    if value.startswith("*"):
        if slash:
            return _fits(of_issuer, issuer) and subject == of_subject
        return issuer != "" and _fits(value, subject)
    if value.endswith("*"):
        if slash:
            return issuer == of_issuer and _fits(of_subject, subject)
        return _fits(value, issuer) and subject != ""
    return (issuer, subject) == (of_issuer, of_subject) if slash else False


def _address(
    wanted: Sequence[str] | None, unwanted: Sequence[str] | None, text: str | None, refuses: bool
) -> bool:
    if not wanted and not unwanted:
        return True
    try:
        address: Any = ipaddress.ip_address(text or "")
    except ValueError:
        return refuses
    address = getattr(address, "ipv4_mapped", None) or address
    return _both(wanted, unwanted, lambda v: address in ipaddress.ip_network(v, strict=False))


# --- to -------------------------------------------------------------------------------------------


def _operation(operation: Any, facts: Any, path: str, refuses: bool) -> bool:
    if operation is None:
        return True
    return (
        _both(
            operation.methods,
            operation.not_methods,
            lambda v: _fits(v, facts.method, empty=True),
        )
        and _hosts(operation.hosts, operation.not_hosts, facts.authority, refuses)
        and _ports(operation.ports, operation.not_ports, facts.port, refuses)
        and _both(operation.paths, operation.not_paths, lambda v: _path(v, path))
    )


def _hosts(
    wanted: Sequence[str] | None, unwanted: Sequence[str] | None, authority: str, refuses: bool
) -> bool:
    if not wanted and not unwanted:
        return True
    if not authority:
        return refuses
    text = authority.lower()
    forms = {text}
    found = re.fullmatch(r"(.*?)(:[0-9]*)?", text)
    assert found is not None
    bare = found[1].removesuffix(".")
    forms |= {bare, bare + (found[2] or "")}
    return _both(wanted, unwanted, lambda v: any(_fits(v.lower(), form) for form in forms))


def _ports(
    wanted: Sequence[str] | None, unwanted: Sequence[str] | None, port: int | None, refuses: bool
) -> bool:
    if not wanted and not unwanted:
        return True
    return refuses if port is None else _both(wanted, unwanted, lambda v: int(v) == port)


def _path(value: str, path: str) -> bool:
    value = re.sub("%[0-9a-f]{2}", lambda found: found[0].upper(), value)
    if "{*}" not in value and "{**}" not in value:
        return _fits(value, path)
    pattern = "/".join(
        {"{*}": "[^/]+", "{**}": ".*"}.get(piece, re.escape(piece)) for piece in value.split("/")
    )
    return re.fullmatch(pattern, path, re.DOTALL) is not None


# --- when -----------------------------------------------------------------------------------------


def _condition(
    condition: Any, home: str, facts: Any, domains: Sequence[str], refuses: bool
) -> bool:
    key, wanted, unwanted = condition.key, condition.values, condition.not_values
    if key in ADDRESS_OF:
        return _address(wanted, unwanted, getattr(facts, ADDRESS_OF[key]), refuses)
    if key == "destination.port":
        return _ports(wanted, unwanted, facts.port, refuses)
    if key == "source.principal":
        return _both(wanted, unwanted, lambda v: _principal(v, facts, domains))
    if key == "source.namespace":
        return _both(wanted, unwanted, lambda v: _namespace(v, facts))
    if key == "source.serviceAccount":
        return _both(wanted, unwanted, lambda v: _account(v, home, facts))
    if key == "source.trustDomain":
        return _both(wanted, unwanted, lambda v: _of(v, facts, domains))
    if key == "connection.sni":
        if facts.sni is None:
            return refuses
        return _both(wanted, unwanted, lambda v: _fits(v, facts.sni))
    if key == "request.auth.principal":
        return _user(wanted, unwanted, facts, refuses)
    if key.startswith("request.headers["):
        return _header(condition, key[16:-1].lower(), facts, refuses)
    texts = _texts(key, facts.user)
    return _both(wanted, unwanted, lambda v: any(_fits(v, text) for text in texts))


def _texts(key: str, user: Any) -> Iterable[str]:
    if user is None:
        return ()
    if key == "request.auth.audiences":
        return tuple(user.audiences)
    if key == "request.auth.presenter":
        return () if user.presenter is None else (user.presenter,)
    found = user.claims
    for name in re.findall(r"\[([^\]]+)\]", key):
        found = found.get(name) if isinstance(found, dict) else None
    if isinstance(found, str):
        return (found,)
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else ()


def _header(condition: Any, name: str, facts: Any, refuses: bool) -> bool:
    """Of several values one is enough to refuse, and all are needed to allow."""
    wanted, unwanted = condition.values, condition.not_values or ()
    lines = [line.strip(" \t") for line in facts.headers(name)]
    if not lines:
        return not wanted
    joined = ",".join(lines)
    parts = lines if name in SINGLE else [part.strip(" \t") for part in joined.split(",")]
    readings = [*parts, *lines, joined]

    def is_any(values: Sequence[str], text: str) -> bool:
        return any(_fits(value, text, empty=True) for value in values)

    if refuses:
        return any(
            (not wanted or is_any(wanted, one)) and not is_any(unwanted, one) for one in readings
        )
    if any(is_any(unwanted, one) for one in readings):
        return False
    return not wanted or joined in wanted or all(is_any(wanted, part) for part in parts)
