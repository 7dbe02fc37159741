"""The codes of findings: Istio's where its analyser has one, else a word of ours."""

from __future__ import annotations

__all__ = [
    "ALIAS",
    "CONFLICT",
    "DEPTH",
    "DUPLICATE",
    "EMPTY",
    "EMPTY_SUBSET",
    "ENDPOINT_NOT_COVERED",
    "ENDPOINT_NOT_GUARDED",
    "ENDPOINT_NOT_SEEN",
    "ENDPOINT_OPEN",
    "FILE_NOT_SEEN",
    "ENCODING",
    "INEFFECTIVE_MATCH",
    "INVALID",
    "INVALID_REGEX",
    "NOT_APPLICABLE",
    "NOT_SUPPORTED_YET",
    "NO_WORKLOAD",
    "PORT_NEEDED",
    "RULE_WITHOUT_ENDPOINT",
    "SIDECARS_OF_NAMESPACE",
    "SIDECARS_OF_WORKLOAD",
    "SIZE",
    "SUSPICIOUS",
    "SYNTAX",
    "TELEMETRIES_OF_NAMESPACE",
    "TELEMETRIES_OF_WORKLOAD",
    "UNKNOWN_FIELD",
    "UNKNOWN_KIND",
    "UNKNOWN_REFERENCE",
    "UNKNOWN_RULE_HOST",
    "UNREACHABLE_RULE",
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

# --- checking one resource ---
SUSPICIOUS = "IST0133"  # SchemaWarning: allowed, and most likely not what its author thinks
INVALID_REGEX = "IST0122"  # InvalidRegexp
UNREACHABLE_RULE = "IST0130"  # VirtualServiceUnreachableRule
INEFFECTIVE_MATCH = "IST0131"  # VirtualServiceIneffectiveMatch

# --- checking on this machine ---
FILE_NOT_SEEN = "file-not-seen"  # a file that policy names is not here

# --- checking an app against policy ---
ENDPOINT_NOT_COVERED = "endpoint-not-covered"  # no ALLOW rule can let anybody call it
ENDPOINT_OPEN = "endpoint-open"  # there is no ALLOW policy, and no other rule is about it
ENDPOINT_NOT_GUARDED = "endpoint-not-guarded"  # the app's meshes stand elsewhere in it
ENDPOINT_NOT_SEEN = "endpoint-not-seen"  # a mounted app of no framework that can be asked
RULE_WITHOUT_ENDPOINT = "rule-without-endpoint"  # the app has nothing that a rule is about

# --- checking across resources ---
UNKNOWN_REFERENCE = "IST0101"  # ReferencedResourceNotFound
CONFLICT = "IST0109"  # ConflictingMeshGatewayVirtualServiceHosts
SIDECARS_OF_WORKLOAD = "IST0110"  # ConflictingSidecarWorkloadSelectors
SIDECARS_OF_NAMESPACE = "IST0111"  # MultipleSidecarsWithoutWorkloadSelectors
PORT_NEEDED = "IST0112"  # VirtualServiceDestinationPortSelectorRequired
NO_WORKLOAD = "IST0127"  # NoMatchingWorkloadsFound
TELEMETRIES_OF_WORKLOAD = "IST0159"  # ConflictingTelemetryWorkloadSelectors
TELEMETRIES_OF_NAMESPACE = "IST0160"  # MultipleTelemetriesWithoutWorkloadSelectors
EMPTY_SUBSET = "IST0173"  # DestinationRuleSubsetNotSelectPods
UNKNOWN_RULE_HOST = "IST0174"  # UnknownDestinationRuleHost
