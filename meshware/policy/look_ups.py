"""What policy says of a service, an endpoint or a rule, for those who tell of calls.

Nothing is compiled for it, and nothing raises: it is for people, and no reason to fail a call.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import msgspec

from meshware.errors import PolicyError
from meshware.policy.clusters import endpoint_key
from meshware.policy.file import Records
from meshware.policy.record_types import EndpointRecord, PlaceRecord
from meshware.policy.view import Client, Common, View

__all__ = ["LookUps"]

_UNREADABLE = (PolicyError, msgspec.MsgspecError, ValueError)


class LookUps:
    """Looks into the records of one snapshot. Safe from any thread.

    It does not know its snapshot: with a ring of the two, the file of a policy that is no longer in
    force would stay open until the collector of cycles comes.

    Args:
        records: the policy file's.
        client: as whom they are seen.
    """

    def __init__(self, records: Records, client: Client) -> None:
        self._records = records
        self._client = client
        self._common: Common = {}
        self._lock = threading.Lock()  # what views share is not safe
        self._places: dict[str, PlaceRecord | None] = {}
        self._endpoints: dict[str, Mapping[str, EndpointRecord]] = {}

    def renew_lock(self) -> None:
        """Replace the lock, in a child process: the thread that may have held it is not there."""
        self._lock = threading.Lock()

    def place_of(self, key: str | None, rule: int | None) -> str | None:
        """Return `file:line` of a rule of a policy, by its record's key; None: nobody knows."""
        if key is None:
            return None
        if key not in self._places:  # read once: a flood of refused calls asks each time
            self._places[key] = self._place_record(key)
        place = self._places[key]
        return None if place is None else place.of(rule)

    def service_named(self, host: str) -> tuple[str, str] | None:
        """Return full host and namespace of the service that a host means; None: it means none."""
        with self._lock:
            seen = View(self._records, self._client, self._common)
            try:
                for name in seen.names(host):
                    service = seen.service(name)
                    if service is not None:
                        return service.host, service.claim.namespace
            except _UNREADABLE:
                pass  # whoever calls it is told
        return None

    def endpoint_record(self, host: str, key: str) -> EndpointRecord | None:
        """Return what policy says of an endpoint of a service, by its "address:port"."""
        if host not in self._endpoints:
            self._endpoints[host] = self._endpoint_records(host)
        return self._endpoints[host].get(key)

    def _endpoint_records(self, host: str) -> Mapping[str, EndpointRecord]:
        with self._lock:
            seen = View(self._records, self._client, self._common)
            try:
                service = seen.service(host)
                found = () if service is None else seen.endpoints(service)
            except _UNREADABLE:
                return {}
        return {
            endpoint_key(record.address, port): record
            for record in found
            for port in record.ports.values()
        }

    def _place_record(self, key: str) -> PlaceRecord | None:
        try:
            data = self._records.get(f"place/{key}")
            return None if data is None else msgspec.json.decode(data, type=PlaceRecord)
        except _UNREADABLE:
            return None
