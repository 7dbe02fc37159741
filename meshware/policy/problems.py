"""One thing wrong with policy, said so that its author can mend it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Problem", "Severity"]


class Severity(StrEnum):
    """How much a problem matters: an error refuses the whole snapshot."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding of `meshware check`; the fields are those of its JSON.

    `message` says what is wrong and what to write instead. `kind` and `name` are None where the
    text is too broken to hold a resource; `namespace` is never empty.
    """

    severity: Severity
    code: str  # Istio's "IST0101" where its analyser has one, else a word of ours: "unknown-field"
    kind: str | None
    namespace: str
    name: str | None
    field: str | None  # "spec.http[0].retries.attempts"
    file: str | None  # as given
    line: int | None  # from 1
    message: str

    def __str__(self) -> str:
        """Return `file:line: severity: Kind/namespace/name: field: message [code]`."""
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        who = "/".join(part for part in (self.kind, self.namespace, self.name) if part)
        if self.kind is None:
            who = ""
        parts = [part for part in (place, self.severity, who, self.field, self.message) if part]
        return f"{': '.join(parts)} [{self.code}]"
