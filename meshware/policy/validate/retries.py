"""Check retries, those of routes and the mesh's default ones.

Source: Istio, `ValidateHTTPRetry`; Envoy, `x-envoy-retry-on` and `x-envoy-retry-grpc-on`.
"""

from __future__ import annotations

from meshware.policy.codes import SUSPICIOUS
from meshware.policy.decode import nearest
from meshware.policy.document.mesh_config import MeshConfigSpec
from meshware.policy.document.virtual_service import HTTPRetry
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.fields import check_duration
from meshware.policy.yaml12 import brief

__all__ = ["check_default_retries", "check_retries"]

# IANA's registry; Istio takes no other number.
_STATUSES = frozenset(
    str(status)
    for low, high in ((100, 103), (200, 208), (226, 226), (300, 305), (307, 308), (400, 418))
    + ((421, 426), (428, 429), (431, 431), (451, 451), (500, 508), (510, 511))
    for status in range(low, high + 1)
)
_WORDS = frozenset(
    {
        "5xx",
        "gateway-error",
        "reset",
        "reset-before-request",
        "connect-failure",
        "retriable-4xx",
        "refused-stream",
        "retriable-status-codes",
        "retriable-headers",
        "envoy-ratelimited",
        "http3-post-connect-failure",
        "cancelled",
        "deadline-exceeded",
        "internal",
        "resource-exhausted",
        "unavailable",
    }
)
# Words that Istio takes and that nothing ever meets, and why.
_NEVER_MET = {
    "retriable-headers": "no field of policy names such headers",
    "http3-post-connect-failure": "there is no HTTP/3 here",
}
# A try that was cut by its own time-out is made again under these only.
_AFTER_TIMEOUT = frozenset({"5xx", "gateway-error", "reset"})


def check_default_retries(resource: Resource, report: Report) -> None:
    """Report what is wrong with the mesh's default retries."""
    spec = resource.spec
    if isinstance(spec, MeshConfigSpec) and spec.default_http_retry_policy is not None:
        check_retries(
            resource, "spec.defaultHttpRetryPolicy", spec.default_http_retry_policy, None, report
        )


def check_retries(
    resource: Resource, path: str, retry: HTTPRetry, timeout_s: float | None, report: Report
) -> None:
    """Report what is wrong with retries.

    Args:
        resource: whose they are.
        path: the field.
        retry: what is written there.
        timeout_s: the time-out of the whole call, with all its tries; None: there is none.
        report: takes the problems.
    """
    if retry.attempts is None:
        report.error(
            resource,
            f"{path}.attempts",
            "attempts is missing, which Istio takes for 0, no retry; write the number of tries "
            "on top of the first",
        )
    elif retry.attempts < 0:
        report.error(
            resource,
            f"{path}.attempts",
            f"attempts is {retry.attempts}; write 0 for no retry, or a number above",
        )
    elif retry.attempts == 0:
        _check_off(resource, path, retry, report)
    check_duration(
        resource, f"{path}.perTryTimeout", retry.per_try_timeout, report, ", or remove it"
    )
    check_duration(resource, f"{path}.backoff", retry.backoff, report, ", or remove it for 25ms")
    if retry.retry_on:
        _check_retry_on(resource, f"{path}.retryOn", retry.retry_on, report)
    if retry.per_try_timeout and retry.attempts:
        _check_per_try(resource, path, retry, timeout_s, report)


def _check_off(resource: Resource, path: str, retry: HTTPRetry, report: Report) -> None:
    others = [
        name
        for name, value in (
            ("perTryTimeout", retry.per_try_timeout),
            ("retryOn", retry.retry_on),
            ("backoff", retry.backoff),
        )
        if value
    ]
    if others:
        report.error(
            resource,
            f"{path}.attempts",
            f"attempts is 0, which turns retries off, beside {' and '.join(others)}; write a "
            f"number above 0, or remove {' and '.join(others)}",
        )


def _check_retry_on(resource: Resource, path: str, written: str, report: Report) -> None:
    words = written.split(",")
    for word in words:
        bare = word.strip()
        if bare not in _WORDS and bare not in _STATUSES:
            report.error(resource, path, _unknown_word(bare))
        elif bare != word:
            report.error(
                resource,
                path,
                f"retryOn has a space beside {bare!r}, which Istio refuses; write "
                f"{','.join(each.strip() for each in words)!r}",
            )
        elif bare in _NEVER_MET:
            report.info(
                resource,
                path,
                f"retryOn {bare} changes nothing: {_NEVER_MET[bare]}; it may be removed",
                SUSPICIOUS,
            )
    if words == ["retriable-status-codes"]:
        report.warning(
            resource,
            path,
            "retryOn names retriable-status-codes and no code; add the codes, as in 503,429",
            SUSPICIOUS,
        )


def _unknown_word(word: str) -> str:
    if not word:
        return "retryOn has an empty word; remove the comma too many"
    near = nearest(word, _WORDS)
    remedy = f"did you mean {near}?" if near else f"write some of {', '.join(sorted(_WORDS))}"
    return f"retryOn has {brief(word)!r}, neither a condition nor an HTTP status; {remedy}"


def _check_per_try(
    resource: Resource, path: str, retry: HTTPRetry, timeout_s: float | None, report: Report
) -> None:
    here = f"{path}.perTryTimeout"
    if timeout_s and retry.per_try_timeout and retry.per_try_timeout >= timeout_s:
        report.warning(
            resource,
            here,
            "perTryTimeout is not below the timeout of the whole call, so it never cuts a try; "
            "write less, or remove it",
            SUSPICIOUS,
        )
        return
    words = {word.strip() for word in (retry.retry_on or "").split(",")}
    if words.isdisjoint(_AFTER_TIMEOUT):
        report.info(
            resource,
            here,
            "a try that is cut by perTryTimeout is not made again: retryOn names none of 5xx, "
            "gateway-error and reset; add one of them if it shall be",
            SUSPICIOUS,
        )
