"""Check what keeps callers at one endpoint. Source: Istio, `validateLoadBalancer`."""

from __future__ import annotations

import re

from meshware.policy.codes import SUSPICIOUS
from meshware.policy.document.destination_rule import (
    ConsistentHash,
    HTTPCookie,
    LoadBalancerSettings,
)
from meshware.policy.parse import Resource
from meshware.policy.validate.authorization_values import is_token
from meshware.policy.validate.common import Report
from meshware.policy.yaml12 import brief

__all__ = ["check_load_balancer"]

_LARGEST_RING = 65_536  # a point costs 100 bytes and microseconds in each process
_LARGEST_TABLE = 655_373
# RFC 6265: what stands in an attribute of a cookie, and what would end it.
_ATTRIBUTE = re.compile(r"[\x20-\x3a\x3c-\x7e]*")


def check_load_balancer(
    resource: Resource, path: str, written: LoadBalancerSettings | None, report: Report
) -> None:
    """Report a load balancer that says nothing, two things, or what cannot be hashed by."""
    if written is None:
        return
    hashing = written.consistent_hash
    if hashing is None:
        return
    if written.simple is not None:
        report.error(resource, path, "simple and consistentHash are both set; keep one of them")
    _check_key(resource, f"{path}.consistentHash", hashing, report)
    _check_table(resource, f"{path}.consistentHash", hashing, report)


def _check_key(resource: Resource, path: str, hashing: ConsistentHash, report: Report) -> None:
    keys = {
        "httpHeaderName": hashing.http_header_name,
        "httpCookie": hashing.http_cookie,
        "useSourceIp": hashing.use_source_ip,
        "httpQueryParameterName": hashing.http_query_parameter_name,
    }
    given = [name for name, value in keys.items() if value]
    if len(given) != 1:
        what = f"{' and '.join(given)} are both set" if given else "nothing to hash by is set"
        report.error(resource, path, f"{what}; write one of {', '.join(keys)}")
    if hashing.http_header_name and not is_token(hashing.http_header_name):
        report.error(
            resource,
            f"{path}.httpHeaderName",
            f"{brief(hashing.http_header_name)!r} is no name of a header; mend it",
        )
    if hashing.http_cookie is not None:
        _check_cookie(resource, f"{path}.httpCookie", hashing.http_cookie, report)


def _check_cookie(resource: Resource, path: str, cookie: HTTPCookie, report: Report) -> None:
    if not is_token(cookie.name):
        report.error(
            resource, f"{path}.name", f"{brief(cookie.name)!r} is no name of a cookie; mend it"
        )
    if cookie.path is not None and not _ATTRIBUTE.fullmatch(cookie.path):
        report.error(resource, f"{path}.path", "the path holds what no cookie may; mend it")
    for index, attribute in enumerate(cookie.attributes or ()):
        here = f"{path}.attributes[{index}]"
        if not is_token(attribute.name) or not _ATTRIBUTE.fullmatch(attribute.value or ""):
            report.error(resource, here, "this is no attribute of a cookie; mend name and value")
    if cookie.ttl is None and (cookie.path or cookie.attributes):
        report.warning(
            resource,
            path,
            "without ttl no cookie is made, so path and attributes change nothing; add ttl, 0s "
            "for one that ends with the caller's session",
            SUSPICIOUS,
        )


def _check_table(resource: Resource, path: str, hashing: ConsistentHash, report: Report) -> None:
    if hashing.ring_hash is not None and hashing.maglev is not None:
        report.error(resource, path, "ringHash and maglev are both set; keep one of them")
    ring = hashing.ring_hash.minimum_ring_size if hashing.ring_hash is not None else None
    for where, size in (
        ("minimumRingSize", hashing.minimum_ring_size),
        ("ringHash.minimumRingSize", ring),
    ):
        if size is not None and not 0 <= size <= _LARGEST_RING:
            report.error(
                resource,
                f"{path}.{where}",
                f"minimumRingSize is {size}; write a number up to {_LARGEST_RING}",
            )
    table = hashing.maglev.table_size if hashing.maglev is not None else None
    if table and not (2 < table <= _LARGEST_TABLE and _is_prime(table)):
        report.error(
            resource,
            f"{path}.maglev.tableSize",
            f"tableSize is {table}; write a prime number up to {_LARGEST_TABLE}, such as 65537",
        )


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % each for each in range(2, int(number**0.5) + 1))
