"""Every exception that meshware raises on purpose.

::

    MeshError
    ├── PolicyError          policy text or a policy file that cannot be used; carries all problems
    │   └── PolicyFileError  a policy file that is torn, altered, too old or not ours to trust
    ├── IdentityError        a workload, key or certificate that is missing or does not fit
    │   ├── PeerIdentityError  the other end of a TLS connection is not whom policy expects
    │   └── TokenError       a token or a forwarded certificate header that nobody may believe
    ├── FetchError           something whose address policy names, and that cannot be had
    ├── ClaimsError          claims of a user's token that are not of the shape that the app wants
    ├── SyncError            the daemon cannot start or go on
    └── SettingsError        an environment variable, argument or file the user can mend

On the request path a refusal is a value (`Denial`, `Reply`), never one of these: callers of
httpx or requests see their own library's exceptions.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshware.policy.problems import Problem

__all__ = [
    "FetchError",
    "ClaimsError",
    "IdentityError",
    "MeshError",
    "PeerIdentityError",
    "PolicyError",
    "PolicyFileError",
    "SettingsError",
    "SyncError",
    "TokenError",
]


class MeshError(Exception):
    """The root of every exception that meshware raises."""


class PolicyError(MeshError):
    """Policy that cannot be used, with *all* its problems.

    Attributes:
        problems: one object for each problem, with the fields of `meshware check --format json`:
            severity, code, kind, namespace, name, field, file, line, message.
    """

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        lines = [message, *(f"  {problem}" for problem in self.problems)]
        super().__init__("\n".join(lines))


class PolicyFileError(PolicyError):
    """A policy file that is torn, altered, older than the one in force, or not ours to trust."""


class IdentityError(MeshError):
    """A workload, key or certificate that is missing or does not fit the policy."""


class PeerIdentityError(IdentityError, ssl.SSLCertVerificationError):
    """The other end of a TLS connection is not whom policy expects.

    Also an `ssl.SSLCertVerificationError`, so that TLS stacks end the handshake for it.
    """


class TokenError(IdentityError):
    """A token, or a header about a certificate, that nobody may believe.

    The text says what is wrong with it and never repeats any of it: tokens are for no log.

    Attributes:
        flaw: where a token cannot be read, by a word of `identity.jose`; "": it is something else.
    """

    def __init__(self, message: str, flaw: str = "") -> None:
        self.flaw = flaw
        super().__init__(message)


class ClaimsError(MeshError):
    """The claims of a call's token are not of the type that the app asks for, or there is none.

    The text names the claim and the type, and nothing that the token says.
    """


class FetchError(MeshError):
    """Something whose address policy names, and that cannot be had or is not what it should be.

    Attributes:
        reason: one word for it, for counting.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class SyncError(MeshError):
    """The daemon cannot start or go on; the message says what to mend."""


class SettingsError(MeshError):
    """An environment variable, argument or file that the user can mend; one clear sentence."""
