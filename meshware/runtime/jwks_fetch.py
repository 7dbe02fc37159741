"""Fetch the keys of one issuer: from the address of its key set, or by way of its configuration."""

from __future__ import annotations

import time
from collections.abc import Callable

from meshware.errors import FetchError, TokenError
from meshware.identity.fetched_keys import keys_address, usable_keys
from meshware.policy.key_urls import KeyUrl, parse_key_url
from meshware.runtime.dns_lookup import Lookup
from meshware.runtime.https_get import HttpsGetter
from meshware.runtime.jwks_schedule import Failed, Fetched, FetchJob, Outcome

__all__ = ["LONGEST_S", "KeyFetcher"]

LONGEST_S = 60.0
"""For one fetch, whatever the rule says: a server that never ends would hold its thread."""


class KeyFetcher:
    """Fetches keys, from any thread. What comes of it is a value, never an exception.

    Args:
        lookup: looks a name up.
        monotonic: seconds.
    """

    def __init__(self, lookup: Lookup, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._getter = HttpsGetter(lookup, monotonic)
        self._monotonic = monotonic

    def __call__(self, job: FetchJob) -> Outcome:
        """Fetch, within the time-out of the rule, all redirects and both documents included."""
        deadline = self._monotonic() + min(job.source.timeout_s, LONGEST_S)

        def get(url: KeyUrl) -> bytes:
            return self._getter.get(url, job.rules, deadline)

        try:
            data = get(_parsed(job.source.uri))
            if job.source.is_discovery:
                data = get(_parsed(keys_address(data, job.source.issuer)))
            return Fetched(usable_keys(data))
        except FetchError as error:
            return Failed(error.reason, str(error))
        except TokenError as error:
            return Failed("content", str(error))


def _parsed(written: str) -> KeyUrl:
    try:
        return parse_key_url(written)
    except ValueError as error:
        raise FetchError("address", f"the address is none to fetch from: {error}") from error
