"""The codes of findings: Istio's where its analyser has one, else a word of ours."""

from __future__ import annotations

__all__ = [
    "ALIAS",
    "CONFLICT",
    "DEPTH",
    "DUPLICATE",
    "EMPTY",
    "ENCODING",
    "INVALID",
    "NOT_APPLICABLE",
    "NOT_SUPPORTED_YET",
    "SIZE",
    "SYNTAX",
    "UNKNOWN_FIELD",
    "UNKNOWN_KIND",
    "UNREADABLE",
]

# --- reading ---
SYNTAX = "yaml-syntax"  # not YAML, or YAML that could mean two things
ENCODING = "encoding"  # not UTF-8, or characters that YAML forbids
SIZE = "size"  # more than the limit
DEPTH = "depth"  # nested deeper than the limit
ALIAS = "alias"  # more aliases than the limit
EMPTY = "empty"  # no resource where there should be one
UNREADABLE = "unreadable"  # the file or directory cannot be read

# --- decoding ---
INVALID = "IST0106"  # Istio's SchemaValidationError: a wrong type, word or range
UNKNOWN_FIELD = "unknown-field"
UNKNOWN_KIND = "unknown-kind"
DUPLICATE = "duplicate"  # one name twice
NOT_SUPPORTED_YET = "not-supported-yet"
NOT_APPLICABLE = "not-applicable"

# --- checking across resources ---
CONFLICT = "IST0109"  # Istio's ConflictingMeshGatewayVirtualServiceHosts
