"""What `meshware explain` says of an outbound call: the fields of its JSON.

`docs/reference/explain.md` tells them to people. Fields are added and never changed: programs read
them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from meshware.policy.survey import State

__all__ = [
    "AbortAnswer",
    "DelayAnswer",
    "DestinationAnswer",
    "EndpointAnswer",
    "FaultAnswer",
    "LevelAnswer",
    "MirrorAnswer",
    "NotEjectedAnswer",
    "OtherEndpointAnswer",
    "OutboundAnswer",
    "OutsideState",
    "PolicyAnswer",
    "RetriesAnswer",
    "RuleAnswer",
    "RuleState",
    "SentAnswer",
    "SettingAnswer",
]

RuleState = Literal["taken", "no-match", "not-for-this-client", "not-reached"]

OutsideState = Literal["other-subset", "no-port", "other-locality"]


class EndpointAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint of the cluster that was chosen."""

    address: str
    port: int
    state: Literal["healthy", "ejected"] = "healthy"


class OtherEndpointAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint of the service that is none of the cluster that was chosen."""

    address: str
    port: int | None  # None: it has no such port
    state: OutsideState
    why: str


class LevelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Endpoints that are equally near, and what share of the calls they get now."""

    share_percent: float
    endpoints: tuple[str, ...]  # "address:port"


class NotEjectedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint of the question's `ejected` that calls may go to all the same."""

    endpoint: str  # as asked
    why: str


class RetriesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The retry rule of the route. `attempts` is Istio's number: tries after the first."""

    attempts: int
    per_try_timeout_s: float | None
    on: tuple[str, ...]


class RuleAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One match block of a rule of the VirtualService, or all of a rule without any."""

    rule: int  # position, with the rules of delegates in place
    match: int | None  # position among the rule's blocks
    name: str | None
    state: RuleState
    why: tuple[str, ...]
    delegate: str | None  # "ns/name" of the VirtualService that it is written in, if another
    file: str | None
    line: int | None


class DestinationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One weighted destination of the route."""

    host: str
    port: int
    subset: str | None
    share_percent: float
    is_chosen: bool  # by this call


class MirrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One destination of copies."""

    host: str
    port: int
    subset: str | None
    percent: float
    exists: bool  # False: there is no such destination, and no copy is sent


class DelayAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A delay on purpose."""

    seconds: float
    percent: float


class AbortAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal on purpose."""

    status: int
    grpc_status: int | None
    percent: float


class FaultAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The faults of the route."""

    delay: DelayAnswer | None
    abort: AbortAnswer | None


class SentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What goes out where policy changes the request; None: it stays as it was."""

    path: str | None
    host: str | None
    removed: tuple[str, ...]  # headers
    set: tuple[tuple[str, str], ...]  # headers


class SettingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One setting of the DestinationRule, and the level that it comes from."""

    setting: Literal["loadBalancer", "connectionPool", "outlierDetection", "tls"]
    value: str  # in force, in words
    policy: str | None  # "ns/name" of the DestinationRule; None: the default holds
    level: str | None  # the field that says it, or takes it back
    is_reset: bool  # an entry of portLevelSettings leaves it out, and so takes it back
    file: str | None
    line: int | None


class PolicyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One resource about the host or the destination, and what becomes of it."""

    kind: str
    namespace: str
    name: str
    state: State
    why: str | None
    file: str | None
    line: int | None


class OutboundAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the exchange does first, and why."""

    route: str | None
    destination: str | None  # full host name
    subset: str | None
    port: int | None
    endpoints: tuple[EndpointAnswer, ...]
    timeout_s: float | None
    retries: RetriesAnswer | None
    safe_to_repeat: bool | None  # False: sent again only where no byte of it went out
    flag: str  # "-": none
    status: int | None  # of an answer in place of the upstream's
    # --- why ---
    service: str | None  # "host:port", full; None: the mesh does not know the host
    virtual_service: str | None  # "ns/name" whose rules were asked; None: the default route holds
    why: tuple[str, ...]  # of an answer of the mesh's own, or of a pass-through
    rules: tuple[RuleAnswer, ...]
    destinations: tuple[DestinationAnswer, ...]
    picked: str | None  # "address:port" of the first attempt
    other_endpoints: tuple[OtherEndpointAnswer, ...]
    levels: tuple[LevelAnswer, ...]  # empty where localities do not matter
    not_ejected: tuple[NotEjectedAnswer, ...]
    connect_timeout_s: float | None
    retries_from: Literal["rule", "mesh", "default"] | None  # "mesh": MeshConfig
    retries_why: str | None  # when the rule's retries happen, and when not
    fault: FaultAnswer | None
    redirect_to: str | None
    mirrors: tuple[MirrorAnswer, ...]
    sent: SentAnswer | None
    settings: tuple[SettingAnswer, ...]
    policies: tuple[PolicyAnswer, ...]
