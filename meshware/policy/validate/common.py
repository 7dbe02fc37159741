"""What every check needs: the report that problems go into."""

from __future__ import annotations

from meshware.policy.codes import INVALID, SUSPICIOUS
from meshware.policy.parse import Resource
from meshware.policy.problems import Problem, Severity

__all__ = ["Report"]


class Report:
    """Collects the problems of resources, each with its place."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def error(self, resource: Resource, field: str, message: str, code: str = INVALID) -> None:
        """Add what refuses the whole policy."""
        self._add(Severity.ERROR, resource, field, message, code)

    def warning(self, resource: Resource, field: str, message: str, code: str = SUSPICIOUS) -> None:
        """Add what is most likely a mistake."""
        self._add(Severity.WARNING, resource, field, message, code)

    def info(self, resource: Resource, field: str, message: str, code: str = SUSPICIOUS) -> None:
        """Add what is good to know."""
        self._add(Severity.INFO, resource, field, message, code)

    def _add(
        self, severity: Severity, resource: Resource, field: str, message: str, code: str
    ) -> None:
        if not resource.is_whole:
            return  # refused already, for a reason that may well be the cause of this
        self.problems.append(
            Problem(
                severity=severity,
                code=code,
                kind=resource.kind,
                namespace=resource.namespace,
                name=resource.name,
                field=field,
                file=resource.origin.file,
                line=resource.line_of(field),
                message=message,
            )
        )
