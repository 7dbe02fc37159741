"""Authorizers that are functions of the app: what they are asked, and what they may answer.

::

    import meshware
    from meshware.authz import Allow, Deny, Request

    @meshware.authorizer("office-hours")
    def office_hours(request: Request) -> Allow | Deny | bool:
        if request.headers.get("x-badge") != "blue":
            return Deny(401, "show your badge", {"www-authenticate": "Badge"})
        return Allow({"x-badge-checked": "yes"})

MeshConfig names such a function as an extensionProvider with `inProcess`, and an
AuthorizationPolicy with action CUSTOM says which requests it is asked about. See
docs/how-to/external-authorizer.md.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar

from meshware.call import HeaderLookup, Peer

__all__ = [
    "Allow",
    "AnswerError",
    "Answer",
    "Authorizer",
    "Deny",
    "Headers",
    "Request",
    "authorizer",
    "registered",
]

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, 5.5

Pairs = tuple[tuple[str, str], ...]


class Headers(Mapping[str, str]):
    """The headers of a request by name, in whatever case; a repeated one is joined by `, `.

    Its text form has no values: a token in a log is a token too many.
    """

    __slots__ = ("_lookup", "_names")

    def __init__(self, lookup: HeaderLookup, names: Iterable[str]) -> None:
        """Take what a server says.

        Args:
            lookup: returns the lines of a header by its lower-case name.
            names: of the headers, lower case.
        """
        self._lookup = lookup
        self._names = tuple(dict.fromkeys(names))

    def __getitem__(self, name: str) -> str:
        """Return what a header says; raises KeyError when it is not there."""
        wanted = name.lower()
        lines = self._lookup(wanted) if wanted in self._names else ()
        if not lines:
            raise KeyError(name)
        return ", ".join(lines)

    def lines(self, name: str) -> tuple[str, ...]:
        """Return the lines of a header, one by one; () when it is not there."""
        wanted = name.lower()
        return tuple(self._lookup(wanted)) if wanted in self._names else ()

    def __iter__(self) -> Iterator[str]:
        """Yield the names, lower case."""
        return iter(self._names)

    def __len__(self) -> int:
        """Return how many headers there are."""
        return len(self._names)

    def __repr__(self) -> str:
        """Return the names."""
        return f"Headers({', '.join(self._names)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request that an authorizer is asked about.

    A request whose path can mean several things is asked about once for each; all must be allowed.
    """

    method: str
    path: str  # percent-encoded and normalised, without the query
    query: str = field(repr=False)  # without its question mark; "" for none
    host: str  # the Host header as sent; "" when there is none
    scheme: str  # "http", "https", "ws" or "wss"
    headers: Headers
    peer: Peer | None = None  # the workload that calls; None: it has proved nothing
    source_ip: str | None = None  # of the connection; None: not known
    body: bytes | None = field(default=None, repr=False)  # None: MeshConfig does not ask for it
    is_body_whole: bool = True


class AnswerError(ValueError):
    """An answer that can be none: what it was to say is not known, so it allows nothing."""


@dataclass(frozen=True, slots=True)
class Allow:
    """Let a request in.

    Args:
        headers: for the app, in place of those of the same names that the caller sent. What the
            mesh itself decides by (Host, lengths, its own headers) cannot be set.

    Raises:
        ValueError: a name or a value can be no header's.
    """

    headers: Mapping[str, str] | Iterable[tuple[str, str]] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Check the headers."""
        object.__setattr__(self, "headers", _checked(self.headers))


@dataclass(frozen=True, slots=True)
class Deny:
    """Refuse a request; the caller gets this answer.

    Args:
        status: of HTTP, 300 to 599.
        body: text, sent as UTF-8, or bytes.
        headers: of the answer.

    Raises:
        ValueError: the status is none of a refusal, or a header can be none.
    """

    status: int = 403
    body: str | bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Check status and headers."""
        if type(self.status) is not int or not 300 <= self.status <= 599:
            raise AnswerError(f"{self.status!r} is no status of a refusal; write 300 to 599")
        if not isinstance(self.body, str | bytes):
            raise AnswerError("the body of a refusal is text or bytes")
        object.__setattr__(self, "headers", _checked(self.headers))


Answer = Allow | Deny | bool | None
"""What an authorizer returns; only an `Allow` and True let a request in."""

Authorizer = Callable[[Request], Answer | Awaitable[Answer]]

F = TypeVar("F", bound=Authorizer)


def authorizer(name: str) -> Callable[[F], F]:
    """Register a function as the authorizer of a name, for this process.

    Args:
        name: of the extensionProvider in MeshConfig.

    Raises:
        ValueError: another function has the name.
    """

    def register(function: F) -> F:
        with _lock:
            before = _registered.get(name)
            if before is not None and _place(before) != _place(function):
                raise ValueError(
                    f"authorizer {name!r} is {'.'.join(_place(before))} already; choose another "
                    "name for this one"
                )
            _registered[name] = function
        return function

    return register


def registered(name: str) -> Authorizer | None:
    """Return the function that is the authorizer of a name; None: there is none."""
    return _registered.get(name)


_registered: dict[str, Authorizer] = {}
_lock = Lock()


def _place(function: object) -> tuple[str, str]:
    # The same one again where a module is loaded anew.
    module = getattr(function, "__module__", "") or ""
    return module, getattr(function, "__qualname__", type(function).__qualname__)


def _checked(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> Pairs:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    checked: list[tuple[str, str]] = []
    for name, value in pairs:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise AnswerError("a header's name can be none")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise AnswerError(f"the value of header {name} can be none: write visible characters")
        checked.append((name.lower(), value.strip(" \t")))
    return tuple(checked)
