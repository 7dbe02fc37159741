"""What decisions and drivers say to each other about one call: heads, actions, outcomes, flags.

Nothing here decides anything or holds I/O. The outbound half is the vocabulary of
`meshware.outbound.exchange` (it yields actions and is sent outcomes); the inbound half is what
`meshware.inbound.gate` is asked and what an app finds in `current_call()`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from ssl import SSLContext, SSLSocket

    from meshware.policy.pool_rule import PoolRule
    from meshware.trace import LiveSpan

__all__ = [
    "NO_CLAIMS",
    "Action",
    "Answer",
    "Call",
    "Claims",
    "ClientIdentity",
    "Deliver",
    "Ended",
    "ExchangeInfo",
    "Failure",
    "FailureKind",
    "Flag",
    "HeaderLookup",
    "MessageEdit",
    "Mirror",
    "Outcome",
    "Peer",
    "Raise",
    "Reply",
    "RequestHead",
    "Send",
    "Sleep",
    "Wait",
    "Waiter",
    "bind_call",
    "current_call",
    "unbind_call",
    "flags_text",
]

T = TypeVar("T")

HeaderLookup = Callable[[str], Sequence[str]]
"""Return the values of a header, one for each line, by its lower-case name."""


class Flag(StrEnum):
    """Why the mesh answered itself, or what it did to the call, in Envoy's output order.

    Source: Envoy, access log `%RESPONSE_FLAGS%`.
    """

    NO_HEALTHY_UPSTREAM = "UH"
    UPSTREAM_TIMEOUT = "UT"
    UPSTREAM_REMOTE_RESET = "UR"
    UPSTREAM_CONNECT_FAILURE = "UF"
    UPSTREAM_TERMINATION = "UC"
    UPSTREAM_OVERFLOW = "UO"
    NO_ROUTE = "NR"
    DELAY_INJECTED = "DI"
    FAULT_INJECTED = "FI"
    RATE_LIMITED = "RL"
    EXTERNAL_AUTHORIZER = "UAEX"
    DOWNSTREAM_CLOSED = "DC"
    RETRY_LIMIT = "URX"
    UPSTREAM_PROTOCOL = "UPE"
    NO_CLUSTER = "NC"


_FLAG_ORDER = {flag: position for position, flag in enumerate(Flag)}


def flags_text(flags: Sequence[Flag]) -> str:
    """Return flags as Envoy writes them: joined by commas in its order, `-` for none."""
    if not flags:
        return "-"
    return ",".join(sorted(set(flags), key=lambda flag: _FLAG_ORDER[Flag(flag)]))


# --- outbound: what a driver says first -------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class RequestHead:
    """One outbound request as the caller wrote it; bodies stay with the driver."""

    method: str  # upper case
    scheme: str  # "http" or "https"
    host: str  # of the URL: lower case, without port, brackets or trailing dot
    port: int  # of the URL, or the scheme's default
    authority: str  # the Host header as the caller wrote it, port included
    target: str  # path and query, still percent-encoded: "/reviews/1?x=2"
    headers: HeaderLookup
    replayable: bool  # the driver can send the same body again (or there is none), as of now
    is_kept: bool = False  # of a body that can be read only once the driver has all by now
    wait_s: float | None = None  # the caller's own time-out on the wait for headers
    call: Call | None = None  # the inbound call on whose behalf this one is made
    # The trace context that it bears where its caller wrote none; None: that of `call`.
    trace_headers: tuple[tuple[str, str], ...] | None = None


# --- outbound: actions ------------------------------------------------------------------------


@dataclass(slots=True)
class MessageEdit:
    """A change of headers: first take out `drop` (lower case), then put `append` behind."""

    drop: frozenset[str]
    append: tuple[tuple[str, str], ...]

    def over(self, headers: HeaderLookup) -> HeaderLookup:
        """Return what looks up headers as they are behind the change."""

        def look_up(name: str) -> Sequence[str]:
            kept = () if name in self.drop else headers(name)
            return (*kept, *(value for added, value in self.append if added.lower() == name))

        return look_up


class ClientIdentity(Protocol):
    """What proves to others of the mesh who this process is."""

    def client_context(self, expected: frozenset[str], socket_class: type[SSLSocket]) -> SSLContext:
        """Return the TLS context for calls to any of these; raises `IdentityError` for none."""
        ...


@dataclass(slots=True)
class Send:
    """Make one attempt. The outcome is an `Answer` or a `Failure`."""

    # Where to dial: an IP address or "unix:///path"; None: where the caller's URL says
    # (pass-through).
    address: str | None
    port: int
    pool: PoolRule  # what connections must be; those of two pools are never shared
    attempt: int  # from 1
    timeout_s: float | None  # the whole attempt until response headers; None: no limit
    connect_timeout_s: float | None
    headers: tuple[tuple[str, str], ...]  # set these, replacing what is there
    edit: MessageEdit | None = None  # comes before; None: nothing else changes
    target: str | None = None  # path and query in place of the caller's; None: they stay
    cluster: str = ""  # for whom: a cluster uses one pool at a time, its last one
    server_name: str | None = None  # of TLS, to send and to verify; None: no TLS of policy's
    is_fresh: bool = False  # over a connection that nobody has used before
    replay_bytes: int = 0  # how much to keep of a body that can be read only once
    identity: ClientIdentity | None = None  # what proves who we are, where the pool wants that


@dataclass(slots=True)
class Sleep:
    """Wait before the next attempt. The outcome is None."""

    seconds: float


class Waiter:
    """Who waits for a place among the requests of a cluster; woken once, from any thread.

    `wake` may run in garbage collection on any thread, so it takes no lock of ours.
    """

    __slots__ = ("_notify", "is_woken")

    def __init__(self) -> None:
        self.is_woken = False
        self._notify: Callable[[], object] | None = None

    def wake(self) -> None:
        """End the wait, now or before it has begun."""
        self.is_woken = True
        if self._notify is not None:
            self._notify()

    def on_wake(self, notify: Callable[[], object]) -> None:
        """Have something called at the end of the wait: once or twice, maybe at once.

        Args:
            notify: must not wait, nor raise.
        """
        self._notify = notify
        if self.is_woken:
            notify()


@dataclass(slots=True)
class Wait:
    """Wait until woken, or for the time at most. The outcome is None either way."""

    waiter: Waiter
    timeout_s: float | None  # None: no limit


@dataclass(slots=True)
class Mirror:
    """Send a copy of the request in the background, and go on at once. The outcome is None.

    Where the driver sends no more copies, or has no whole body to copy, it drops this one by
    closing the exchange.
    """

    exchange: Generator[Any, Any, None]  # of the copy, to be driven like any other


@dataclass(slots=True)
class Deliver:
    """Hand the last `Answer` to the caller. The outcome is an `Ended`, when the body has ended.

    The driver closes the exchange when the caller closes the body early.
    """

    info: ExchangeInfo
    deadline_s: float | None  # what is left for the body to end; None: no limit
    edit: MessageEdit | None = None  # of the response's headers


@dataclass(slots=True)
class Reply:
    """Answer in place of the upstream. Nothing is sent to the exchange after it."""

    status: int
    body: bytes
    info: ExchangeInfo
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Raise:
    """Raise the library's own exception: the caller's time-out is over, or a pass-through failed.

    Nothing is sent to the exchange after it.
    """

    timed_out: bool  # True: the library's read time-out; False: the last attempt's own exception


Action = Send | Sleep | Wait | Mirror | Deliver | Reply | Raise


# --- outbound: outcomes -----------------------------------------------------------------------


@dataclass(slots=True)
class Answer:
    """Response headers arrived; the body has not been read."""

    status: int
    headers: HeaderLookup


class FailureKind(Enum):
    """How an attempt failed before response headers."""

    CONNECT = "connect"  # refused, unreachable, name not found
    CONNECT_TIMEOUT = "connect-timeout"
    TLS = "tls"  # the handshake failed
    RESET = "reset"  # connection reset by the other end
    TERMINATED = "terminated"  # connection closed by the other end
    PROTOCOL = "protocol"  # the answer was not HTTP
    TIMEOUT = "timeout"  # `Send.timeout_s` passed


@dataclass(slots=True)
class Failure:
    """An attempt that brought no response headers."""

    kind: FailureKind
    sent: bool  # True unless it is certain that no byte of the request was sent
    detail: str = ""
    # Lost without a byte of an answer, over a connection that had carried another request before:
    # the other end may have closed it as idle, just as this request was on its way.
    is_stale: bool = False


@dataclass(slots=True)
class Ended:
    """The response body has ended."""

    failure: FailureKind | None = None  # None: whole
    received_bytes: int = 0


Outcome = Answer | Failure | Ended | None


@dataclass(slots=True)
class ExchangeInfo:
    """What the mesh did for one outbound call.

    Found in `response.extensions["meshware"]` (httpx) or `response.meshware` (requests).
    """

    flags: str = "-"  # Envoy's response flags, comma-joined in its order
    attempts: int = 0  # the first try counts
    endpoint: str | None = None  # "address:port" of the last attempt
    route: str | None = None  # the VirtualService route's name or index


# --- inbound: what the app sees ---------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """An authenticated caller."""

    id: str  # "spiffe://..."
    proved_by: str  # "mtls", "xfcc" or "token"
    until: float | None = None  # unix seconds at which the proof ends


class Claims(Mapping[str, Any]):
    """The claims of a verified token, as they were signed. Read-only, and not in any repr.

    Lists and objects are copies each time: whatever an app does to them, the next call that bears
    the same token finds what its issuer has signed.
    """

    __slots__ = ("_claims",)

    def __init__(self, claims: Mapping[str, Any]) -> None:
        self._claims = claims

    def __getitem__(self, name: str) -> Any:
        return _copied(self._claims[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._claims)

    def __len__(self) -> int:
        return len(self._claims)

    def __repr__(self) -> str:
        return f"<{len(self._claims)} claims>"


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_copied(one) for one in value]
    return value


NO_CLAIMS = Claims({})
"""Those of a call that bears no token."""


def _no_route() -> str | None:
    return None


@dataclass(slots=True, eq=False)
class Call:
    """The inbound call that this code runs for; what `current_call()` returns.

    Also found as `scope["meshware"]` (ASGI) and `environ["meshware"]` (WSGI).
    """

    request_id: str  # x-request-id, made when the caller sent none
    trace_id: str | None = None  # 32 hex digits of `traceparent`, or None
    traceparent: str | None = None  # of the caller, or of the server span where there is one
    tracestate: str | None = None
    peer: Peer | None = None
    principal: str | None = None  # "iss/sub" of the verified token
    claims: Mapping[str, Any] = field(default_factory=lambda: NO_CLAIMS, repr=False)
    deadline_at: float | None = None  # Clock.monotonic() seconds
    route_of: Callable[[], str | None] = field(default=_no_route, repr=False)
    # The trace context as outbound calls bear it; (): what the two above say.
    trace_headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    span: LiveSpan | None = field(default=None, repr=False)  # of a sampled call

    @property
    def route(self) -> str | None:
        """The framework's route template (`/users/{id}`), once the framework has routed."""
        return self.route_of()

    def claims_as(self, type_: type[T]) -> T:
        """Return the claims as an object of the app's own type.

        Members that the type does not have are left out. Numbers and texts are taken for each other
        where the type wants that: `exp: datetime`, or a number that an issuer writes as a text.

        Args:
            type_: a dataclass, a `msgspec.Struct`, a `TypedDict`.

        Raises:
            ClaimsError: the call bears no token that was verified, or its claims do not fit.
        """
        from meshware.typed_claims import claims_as

        return claims_as(self.claims, type_)


_current: ContextVar[Call | None] = ContextVar("meshware_current_call", default=None)


def current_call() -> Call | None:
    """Return the inbound call that this code runs for, or None outside of one.

    Tasks, `asyncio.to_thread` and anyio carry it by themselves; `threading.Thread` and executors
    do after `meshware.install()` or under `meshware run`.
    """
    return _current.get()


bind_call = _current.set
"""Make a call the current one in this context. Returns the token for `unbind_call`."""

unbind_call = _current.reset
