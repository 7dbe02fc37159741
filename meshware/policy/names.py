"""Host names: what a short one means, which patterns cover one, and who may see what.

Two expansions look alike and differ. In a *policy* only a host without any dot is short, and it is
completed with the namespace of the resource that names it (`expand`). A *caller* may also dial
`reviews.prod` or `reviews.prod.svc` (`candidates`). Hosts are compared in lower case.

Source: Istio, `ResolveShortnameToFQDN`, `generateAltVirtualHostsForKubernetesService`, `host.Name`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

__all__ = [
    "CLUSTER_DOMAIN",
    "candidates",
    "expand",
    "is_ip",
    "is_partial_wildcard",
    "is_wildcard",
    "matches",
    "most_specific",
    "specificity_key",
    "visible",
    "wildcards",
]

CLUSTER_DOMAIN = "cluster.local"  # Kubernetes' default, and Istio's


def expand(host: str, namespace: str, domain: str = CLUSTER_DOMAIN) -> str:
    """Return the full host that a host in a policy means, in lower case.

    A host without a dot that is neither `*` nor an IP address gets the namespace of the resource
    that names it. One with any dot stays as it is: `reviews.prod` is a host of its own, not short
    for a service in the namespace `prod`.
    """
    host = host.lower()
    if not host or host == "*" or "." in host or is_ip(host):
        return host
    return f"{host}.{namespace}.svc.{domain}"


def candidates(host: str, caller_namespace: str, domain: str = CLUSTER_DOMAIN) -> tuple[str, ...]:
    """Return the full hosts that a dialled host may mean, in the order to try them.

    `reviews` is the caller's own namespace's; `reviews.prod` and `reviews.prod.svc` are short for
    a service of `prod`, unless somebody declares just that host; all else means itself. A
    trailing dot, as in a full DNS name, is dropped; so are the brackets around an IPv6 address.

    Args:
        host: the host as the caller wrote it, without the port.
        caller_namespace: where the caller runs.
    """
    host = host.lower().removeprefix("[").removesuffix("]").removesuffix(".")
    if not host:
        return ()
    if is_ip(host):
        return (host,)
    match host.split("."):
        case [name]:
            return (f"{name}.{caller_namespace}.svc.{domain}",)
        case [name, namespace] | [name, namespace, "svc"] if name and namespace:
            return (host, f"{name}.{namespace}.svc.{domain}")
        case _:
            return (host,)


def is_ip(host: str) -> bool:
    """Say whether a host is an IPv4 or IPv6 address, without brackets."""
    if not host or not (host[0].isdigit() or ":" in host):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_wildcard(host: str) -> bool:
    """Say whether a host is a pattern."""
    return host.startswith("*")


def is_partial_wildcard(host: str) -> bool:
    """Say whether a pattern ends within a label: `*foo.com`, unlike `*.foo.com` and `*`."""
    return host.startswith("*") and host != "*" and host[1] != "."


def matches(pattern: str, host: str) -> bool:
    """Say whether a pattern covers a host: equal, or the rest after a leading `*` is its end.

    `*.foo.com` covers `a.foo.com` and `a.b.foo.com`, not `foo.com`. A host that is a pattern
    itself is covered where all it covers would be.
    """
    pattern, host = pattern.lower(), host.lower()
    if pattern.startswith("*"):
        return host.removeprefix("*").endswith(pattern[1:])
    return pattern == host


def wildcards(host: str, partial: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the patterns that may cover a host, the most specific first.

    For `a.b.com`: `*.b.com`, `*.com`, `*`. Patterns that end within a label are as many as the
    host has letters, so they are not made up: those that exist are handed in.

    Args:
        host: a host, or a pattern itself (then what is wider than it).
        partial: patterns like `*foo.com` that somebody wrote; those that cover the host are
            sorted in.
    """
    host = host.lower()
    dotted = _dotted(host)
    within = [pattern.lower() for pattern in partial if matches(pattern, host)]
    if not within:
        return dotted
    found = {pattern for pattern in (*dotted, *within) if pattern != host}
    return tuple(sorted(found, key=specificity_key))


@lru_cache(maxsize=1024)
def _dotted(host: str) -> tuple[str, ...]:
    """Return `*.b.com`, `*.com` and `*` for `a.b.com`: every kind of rule asks for them."""
    rest = host.removeprefix("*")
    found = []
    at = rest.find(".")
    while at >= 0:
        found.append(f"*{rest[at:]}")
        at = rest.find(".", at + 1)
    found.append("*")
    return tuple(pattern for pattern in found if pattern != host)


def specificity_key(host: str) -> tuple[bool, int, str]:
    """Return a sort key that puts the most specific host first.

    An exact host comes before a pattern, a longer pattern before a shorter one, and the alphabet
    decides between equals. Source: Istio, `host.MoreSpecific`.
    """
    wild = is_wildcard(host)
    return (wild, -len(host) if wild else 0, host)


def most_specific(patterns: Iterable[str], host: str) -> str | None:
    """Return the most specific of the patterns that cover a host; None where none does."""
    return min((p for p in patterns if matches(p, host)), key=specificity_key, default=None)


def visible(
    export_to: Sequence[str] | None,
    owner_namespace: str,
    client_namespace: str,
    default: Sequence[str] = ("*",),
) -> bool:
    """Say whether a client may see a resource.

    Args:
        export_to: as written: `.` the owner's namespace, `*` all (whatever else is listed), `~`
            nobody, else a namespace. None or empty: `default` holds.
        owner_namespace: the resource's.
        client_namespace: the client's.
        default: what an absent `exportTo` means.
    """
    written = export_to or default
    if "*" in written:
        return True
    return any(
        client_namespace == (owner_namespace if word == "." else word)
        for word in written
        if word != "~"
    )
