"""Which workloads a selector selects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meshware.policy.document.common import Labels

__all__ = ["canonical_revision", "canonical_service", "selects", "unlike", "why_not_selected"]


def unlike(selector: Labels | None, labels: Mapping[str, str]) -> Iterator[str]:
    """Yield the names of the labels that are not as an equality selector wants them."""
    return (name for name, value in (selector or {}).items() if labels.get(name) != value)


def selects(selector: Labels | None, labels: Mapping[str, str]) -> bool:
    """Say whether labels satisfy an equality selector; none or an empty one selects all."""
    return next(unlike(selector, labels), None) is None


def why_not_selected(selector: Labels | None, labels: Mapping[str, str]) -> str | None:
    """Return what is unlike, for people; None: the labels satisfy the selector."""
    wanted = selector or {}
    words = [
        f"{name} is {labels[name]}, wanted {wanted[name]}"
        if name in labels
        else f"{name} is absent, wanted {wanted[name]}"
        for name in unlike(selector, labels)
    ]
    return "; ".join(words) or None


def canonical_service(labels: Mapping[str, str], name: str) -> str:
    """Return the name of the service that a workload is of, by its labels, else its own name.

    Source: Istio, "Canonical service labels".
    """
    for label in ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app"):
        if labels.get(label):
            return labels[label]
    return name


def canonical_revision(labels: Mapping[str, str]) -> str:
    """Return the version of its service that a workload is, by its labels, else `latest`.

    Source: Istio, "Canonical service labels".
    """
    for label in ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"):
        if labels.get(label):
            return labels[label]
    return "latest"
