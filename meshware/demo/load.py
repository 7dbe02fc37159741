"""A bounded load on the shop's page, and what came of each request."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

__all__ = ["Sample", "fetch", "knock", "load"]

CONCURRENCY = 8
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request for the page."""

    status: int  # 0: no answer
    elapsed_s: float
    reviews_status: int = 0  # of the page's call to the reviews
    version: str = "-"  # of the reviews that answered
    stars: bool = False  # every review had its stars
    ratings: Mapping[str, Any] | None = None  # status, attempts, endpoint, flags of that call


def fetch(port: int, *, user: str = "") -> Sample:
    """Ask for the page once, as JSON. Never raises for what the shop does."""
    headers = {"end-user": user} if user else {}
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/api/products/1", headers=headers)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException):
        return Sample(status=0, elapsed_s=time.monotonic() - began)
    finally:
        connection.close()
    elapsed_s = time.monotonic() - began
    if response.status != 200:
        return Sample(status=response.status, elapsed_s=elapsed_s)
    page = json.loads(body)
    reviews = page["reviews"] or {}
    return Sample(
        status=response.status,
        elapsed_s=elapsed_s,
        reviews_status=page["call"]["status"],
        version=reviews.get("version", "-"),
        stars=bool(reviews) and all(review.get("stars") for review in reviews["reviews"]),
        ratings=reviews.get("ratings"),
    )


def knock(port: int) -> str:
    """Ask a service of the shop for anything, without an identity. Never raises.

    Returns the status and body of its answer, or "no answer".
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/reviews/1")
        response = connection.getresponse()
        return f"{response.status} {response.read(200).decode('latin-1')}"
    except (OSError, http.client.HTTPException):
        return "no answer"
    finally:
        connection.close()


def load(port: int, count: int, *, user: str = "") -> list[Sample]:
    """Ask for the page `count` times, a few at once."""
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        return list(pool.map(lambda _: fetch(port, user=user), range(count)))
