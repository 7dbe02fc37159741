"""Answer "what would happen to this call, and why" with the objects that decide real calls.

An inbound question goes through the gate, an outbound one through the exchange up to its first
action (`runtime.explain_outbound`): there is no second copy of any rule, only words in and out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address
from random import Random
from typing import Annotated, Literal

import msgspec

from meshware.authz import Allow
from meshware.call import HeaderLookup, RequestHead
from meshware.errors import IdentityError, SettingsError
from meshware.events import Event
from meshware.identity.spiffe import SpiffeID
from meshware.inbound.gate import Gate
from meshware.inbound.head import InboundHead
from meshware.inbound.passage import Admission, Answered, Ask, Passage
from meshware.inbound.peer import NOBODY, Caller, Refused, required
from meshware.inbound.wellformed import split_target
from meshware.policy.file import Records
from meshware.policy.inbound_facts import Handler
from meshware.policy.paths import decoded
from meshware.policy.places import Name, Places
from meshware.policy.snapshot import Snapshot, build_snapshot
from meshware.policy.view import Client, View
from meshware.runtime.explain_outbound import OutboundWorld, at_rest, explain_outbound
from meshware.runtime.explain_policies import telemetries_of
from meshware.runtime.outbound_answer import OutboundAnswer, PolicyAnswer

__all__ = ["Answer", "Explainer", "Handling", "Question", "Source"]

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who calls. `principal` is without scheme: `cluster.local/ns/x/sa/y`."""

    principal: str | None = None
    namespace: str | None = None
    labels: dict[str, str] | None = None
    ip: str | None = None


class Handling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the app would run: by what rules may call it, as far as that is known."""

    route: str  # as the framework writes it, or in plain braces
    function: str  # with its module
    operation_id: str | None = None
    mount: str = ""  # that part of the route which is in front of the middleware

    def __post_init__(self) -> None:
        """Refuse a mount of another route."""
        if self.mount and not self.route.startswith(f"{self.mount}/"):
            raise ValueError(f"mount {self.mount!r} is not how route {self.route!r} begins")

    def as_handler(self) -> Handler:
        """Return it as rules are told of it."""
        return Handler(
            routes=(self.route,),
            besides=(self.route.removeprefix(self.mount),) if self.mount else (),
            functions=tuple(dict.fromkeys((self.function.rpartition(".")[2], self.function))),
            operation_ids=None if self.operation_id is None else (self.operation_id,),
        )


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One call to decide."""

    direction: Literal["inbound", "outbound"]
    id: str | int | None = None
    source: Source = Source()
    method: str = "GET"
    scheme: str = "http"
    host: str | None = None  # as the caller writes it, with or without a port
    port: Port | None = None
    path: str = "/"  # the raw target, query included
    headers: tuple[tuple[str, str], ...] = ()
    handlers: tuple[Handling, ...] | None = None  # inbound; (): none; None: it is not known
    ejected: tuple[str, ...] = ()  # endpoints, "address:port": what if these were ejected?


class InboundAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate says."""

    verdict: Literal["allow", "deny", "unauthenticated", "bad_request"]
    status: int
    body: str | None  # of the refusal
    policy: str | None  # "namespace/name" of the policy that decided
    rule: int | None  # position in its rules
    place: str | None  # "file:line" of that rule, where it is known
    principal: str | None
    request_principal: str | None
    candidates: tuple[str, ...]  # the paths that the request may mean
    reason: str  # Envoy's response code details
    detail: str | None = None  # what those leave out
    audited: tuple[str, ...] = ()  # the AUDIT policies that match
    shadow: Literal["allow", "deny"] | None = None  # were the policies on trial enforced
    shadow_policy: str | None = None  # the one of them that says so
    shadow_rule: int | None = None
    # Authorizers that would be asked, and are not. A refusal holds whatever they say; a call that
    # is let in is if each of them allows it.
    asks: tuple[str, ...] = ()
    telemetries: tuple[PolicyAnswer, ...] = ()  # that may say what is told of the call


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one question; the side that was not asked for is None."""

    id: str | int | None
    inbound: InboundAnswer | None = None
    outbound: OutboundAnswer | None = None

    @property
    def is_refused(self) -> bool:
        """Say whether the call would not reach an app."""
        if self.inbound is not None:
            return self.inbound.verdict != "allow"
        return self.outbound is not None and self.outbound.status is not None


class Explainer:
    """Answers questions about one workload under one policy.

    Args:
        records: the policy.
        client: the workload.
        generation: of the policy.
        places: where the resources are written; None: nobody knows.
        now: returns aware UTC, for the tokens of questions.

    Raises:
        PolicyError: the records cannot be compiled.

    Attributes:
        snapshot: the policy as the workload sees it.
        failures: what went wrong while answering; the answers are those of a process in which the
            same went wrong.
    """

    def __init__(
        self,
        records: Records,
        client: Client,
        generation: int = 0,
        places: Places | None = None,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._records = records
        self._places = places or Places()
        self._client = client
        self._generation = generation
        self.failures: list[Exception] = []
        # Chance of its own, so that many questions draw weighted destinations by their weights. The
        # first draw from this seed is 0.13, so a single question meets no rare canary.
        self._rng = Random(1)
        self._world_for = lru_cache(maxsize=64)(self._compile)
        self.snapshot: Snapshot = self._world_for(client.namespace, None).snapshot
        self._claimed = _Claimed()
        self._of_telemetry: tuple[PolicyAnswer, ...] | None = None  # looked up when first asked
        self._gate = Gate(
            lambda: self.snapshot,
            monotonic=at_rest,
            new_request_id=lambda: "",
            peers=self._claimed,
            now=lambda: now().timestamp(),
            sink=_nowhere,
            on_error=self.failures.append,
        )

    def answer(self, question: Question) -> Answer:
        """Answer one question.

        Raises:
            SettingsError: an outbound question names no host, an address, port or principal is
                none, or `ejected` stands in an inbound question.
        """
        _check_ip(question.source.ip)
        if question.ejected and question.direction == "inbound":
            raise SettingsError("`ejected` is for outbound questions: it names endpoints to call")
        if question.direction == "inbound":
            return Answer(id=question.id, inbound=self._inbound(question))
        return Answer(id=question.id, outbound=self._outbound(question))

    def _compile(self, namespace: str, labels: tuple[tuple[str, str], ...] | None) -> OutboundWorld:
        client = self._client
        if labels is not None or namespace != client.namespace:
            client = Client(namespace=namespace, labels=dict(labels or ()))
        snapshot = build_snapshot(
            self._records, client, generation=self._generation, on_refusal=self._refused
        )
        seen = View(self._records, snapshot.client)
        return OutboundWorld(snapshot, seen, self._places, self._rng)

    def _refused(self, _name: str, error: Exception) -> None:
        self.failures.append(error)

    # --- inbound ------------------------------------------------------------------------------

    def _inbound(self, question: Question) -> InboundAnswer:
        known = self.snapshot.inbound
        port = question.port
        if port is None and known is not None and len(known.ports) == 1:
            port = known.ports[0]
        headers = _headers(question, question.host or self._client.name or "")
        asked = question.handlers
        handlers = None if asked is None else tuple(one.as_handler() for one in asked)
        self._claimed.caller = _caller(question.source.principal)
        admitted = self._gate.admit(
            InboundHead(
                method=question.method,
                scheme=question.scheme,
                version="1.1",
                target=question.path,
                paths=(decoded(split_target(question.path)),),
                headers=_lookup(headers),
                names=tuple(headers),
                source_ip=question.source.ip,
                destination_ip=None if known is None else known.address,
                port=port,
                handlers_of=lambda _: handlers,
            )
        )
        asks: dict[str, None] = {}
        while isinstance(admitted, Ask):
            asks[admitted.authorizer.name] = None
            admitted = admitted.answered(Allow())
        is_let_in = isinstance(admitted, Admission | Answered)
        status = 200 if isinstance(admitted, Admission) else admitted.status
        return InboundAnswer(
            verdict="allow" if is_let_in else _VERDICTS.get(status, "deny"),
            status=status,
            body=None if isinstance(admitted, Admission) else admitted.body,
            policy=admitted.policy,
            rule=admitted.rule,
            place=admitted.place or self._place(admitted),
            principal=question.source.principal,
            request_principal=admitted.request_principal,
            candidates=admitted.candidates,
            reason=admitted.reason,
            detail=admitted.detail,
            **admitted.marks._asdict(),
            asks=tuple(asks),
            telemetries=self._telemetries(),
        )

    def _telemetries(self) -> tuple[PolicyAnswer, ...]:
        if self._of_telemetry is None:
            view = View(self._records, self.snapshot.client)
            self._of_telemetry = telemetries_of(view, self._places)
        return self._of_telemetry

    def _place(self, decided: Passage) -> str | None:
        if decided.policy is None:
            return None
        namespace, _, name = decided.policy.partition("/")
        found = self._places.find(
            Name("AuthorizationPolicy", namespace, name), f"spec.rules[{decided.rule}]"
        )
        if found is not None:
            return f"{found.file}:{found.line}"
        keys = (f"{kind}/{decided.policy}" for kind in ("authz", "mesh-authz"))
        places = (self.snapshot.look_ups.place_of(key, decided.rule) for key in keys)
        return next((place for place in places if place is not None), None)

    # --- outbound -----------------------------------------------------------------------------

    def _outbound(self, question: Question) -> OutboundAnswer:
        head = _request_head(question)
        source = question.source
        labels = None if source.labels is None else tuple(sorted(source.labels.items()))
        world = self._world_for(source.namespace or self._client.namespace, labels)
        return explain_outbound(world, head, tuple(map(_endpoint_key, question.ejected)))


_VERDICTS: Mapping[int, Literal["deny", "unauthenticated", "bad_request"]] = {
    400: "bad_request",
    401: "unauthenticated",
}


def _nowhere(_event: Event) -> None:
    """Tell nobody: a question is no call."""


def _headers(question: Question, host: str) -> dict[str, list[str]]:
    table: dict[str, list[str]] = {}
    for name, value in question.headers:
        table.setdefault(name.lower(), []).append(value)
    if host:
        table.setdefault("host", [host])
    return table


def _lookup(table: Mapping[str, list[str]]) -> HeaderLookup:
    return lambda name: table.get(name, ())


def _request_head(question: Question) -> RequestHead:
    """Return the head that a client transport would make of the same request."""
    if not question.host:
        raise SettingsError("an outbound question needs `host`, the service that is called")
    host, written_port = _split_host(question.host)
    port = question.port or written_port or (443 if question.scheme == "https" else 80)
    is_default = port == (443 if question.scheme == "https" else 80)
    authority = question.host if is_default or written_port else f"{question.host}:{port}"
    table = _headers(question, "")
    if "host" in table:
        authority = table.pop("host")[0]
    return RequestHead(
        method=question.method.upper(),
        scheme=question.scheme,
        host=host,
        port=port,
        authority=authority,
        target=question.path,
        headers=_lookup(table),
        replayable=True,
    )


def _split_host(written: str) -> tuple[str, int | None]:
    """Split `name:port`, `[::1]:port` or a bare host."""
    host, colon, port = written.rpartition(":")
    is_number = port.isascii() and port.isdigit()
    if not colon or not is_number or host.count(":") and not host.endswith("]"):
        host, port = written, ""
    if port and (len(port) > 5 or not 1 <= int(port) <= 65535):
        raise SettingsError("`host` names a port that is not from 1 to 65535")
    return host.strip("[]").rstrip(".").lower(), int(port) if port else None


class _Claimed:
    """Takes a question's word for who calls."""

    caller: Caller = NOBODY

    def identify(self, head: InboundHead, snapshot: Snapshot) -> Caller | Refused:
        """Return who is said to call, unless policy wants somebody and it is nobody."""
        return required(self.caller, head, snapshot)


def _caller(principal: str | None) -> Caller:
    if principal is None:
        return NOBODY
    try:
        return Caller(SpiffeID.parse(f"spiffe://{principal}"))
    except IdentityError as error:
        raise SettingsError(
            f"`source.principal` is {principal[:80]!r}, which cannot be one ({error}); write "
            "trust-domain/ns/NAMESPACE/sa/SERVICE-ACCOUNT"
        ) from None


def _check_ip(written: str | None) -> None:
    """Refuse an address that is none, instead of answering for a caller of unknown address."""
    if written is None:
        return
    try:
        ip_address(written)
    except ValueError:
        raise SettingsError(f"`source.ip` is {written[:80]!r}, which is no IP address") from None


def _endpoint_key(written: str) -> str:
    """Return the key of an endpoint that a question names.

    Raises:
        SettingsError: it is no address with a port.
    """
    address, _, port = written.rpartition(":")
    is_whole = address.endswith("]") if ":" in address else address != ""
    is_number = port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535
    if not is_whole or not is_number:
        raise SettingsError(
            f"`ejected` names {written[:80]!r}; write address:port, with brackets around IPv6"
        )
    return f"{address}:{int(port)}"
