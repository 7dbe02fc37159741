"""Endpoints that are found by DNS: which names the records ask for, and what answers make of them.

All of this is pure. Who looks names up, and when, is not known here; an answer is a sequence of
addresses. A name that was never answered has no endpoints, so calls are 503 `UH`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from meshware.policy.names import is_ip
from meshware.policy.record_types import DnsRecord, EndpointRecord, EndpointsRecord, MeshRecord

__all__ = ["Addresses", "dns_names", "known_addresses", "refresh_s", "with_addresses", "with_names"]

Addresses = Mapping[str, Sequence[str]]
"""Name -> its addresses, in the order of the answer."""

_PREFIX = "ep/"
_MARK = b'"dns":'  # in the JSON of every record that asks for names, and of hardly another


def dns_names(records: Mapping[str, bytes]) -> frozenset[str]:
    """Return the names that have to be looked up, in lower case."""
    return frozenset(
        endpoint.address
        for _, record in _asking(records)
        for asked in (record.dns or {}).values()
        for endpoint in asked.endpoints
        if not is_ip(endpoint.address)
    )


def with_addresses(records: Mapping[str, bytes], known: Addresses) -> dict[str, bytes]:
    """Return the records with endpoints for the addresses that are known.

    Of `DNS` every address is an endpoint, in an order that does not depend on the answer's; of
    `DNS_ROUND_ROBIN` the first of the answer is. What was in the records from earlier answers is
    replaced.

    Args:
        records: a whole policy.
        known: the newest good answer of each name.
    """
    changed = {
        key: msgspec.json.encode(
            msgspec.structs.replace(
                record,
                by_namespace={
                    **record.by_namespace,
                    **{
                        namespace: _found(asked, known)
                        for namespace, asked in (record.dns or {}).items()
                    },
                },
            )
        )
        for key, record in _asking(records)
    }
    return {**records, **changed}


def with_names(records: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the records with each name in place of its addresses.

    For who explains policy without a network: the endpoints are then those that policy names.
    """
    return with_addresses(records, {name: (name,) for name in dns_names(records)})


def known_addresses(records: Mapping[str, bytes]) -> dict[str, tuple[str, ...]]:
    """Return the answers that are in records: what a process before this one had found."""
    found: dict[str, dict[str, None]] = {}
    for _, record in _asking(records):
        for endpoints in record.by_namespace.values():
            for endpoint in endpoints:
                if endpoint.name is not None:
                    found.setdefault(endpoint.name, {})[endpoint.address] = None
    return {name: tuple(addresses) for name, addresses in found.items()}


def refresh_s(records: Mapping[str, bytes]) -> float:
    """Return how long an answer holds that does not say so itself. Source: Istio MeshConfig."""
    data = records.get("mesh")
    return (
        MeshRecord() if data is None else msgspec.json.decode(data, type=MeshRecord)
    ).dns_refresh_s


def _asking(records: Mapping[str, bytes]) -> Iterator[tuple[str, EndpointsRecord]]:
    for key, data in records.items():
        if key.startswith(_PREFIX) and _MARK in data:
            record = msgspec.json.decode(data, type=EndpointsRecord)
            if record.dns:
                yield key, record


def _found(asked: DnsRecord, known: Addresses) -> tuple[EndpointRecord, ...]:
    found: dict[tuple[object, ...], EndpointRecord] = {}
    for template in asked.endpoints:
        name = template.address
        if is_ip(name):
            each: Sequence[EndpointRecord] = (template,)
        else:
            addresses = known.get(name, ())
            addresses = addresses[:1] if asked.is_first_only else sorted(addresses)
            each = [
                msgspec.structs.replace(template, address=address, name=name)
                for address in addresses
            ]
        for endpoint in each:
            # Envoy: one address that two names have is one endpoint, with what was said first.
            found.setdefault((endpoint.address, *sorted(endpoint.ports.items())), endpoint)
    return tuple(found.values())
