"""A workload's identity token and its key, in a file that the daemon keeps current.

`token.json` lies beside `svid.pem` in `identity/<namespace>/<service account>` of the run
directory. What cannot be used is told in the log, and what was read before stays until it ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from meshware.errors import IdentityError
from meshware.identity.jose import number, parse, strict_json
from meshware.identity.jwk import read_jwk, thumbprint
from meshware.identity.jwt_svid import subject_of
from meshware.identity.spiffe import SpiffeID
from meshware.identity.svid import PrivateKey
from meshware.runtime.followed_files import FollowedFiles, States, read_secret

__all__ = ["TokenFile", "WorkloadToken"]

_NAME = "token.json"


@dataclass(frozen=True, slots=True)
class WorkloadToken:
    """A workload's own identity token, with its key. Neither is ever in a repr."""

    id: SpiffeID
    wit: str = field(repr=False)
    key: PrivateKey = field(repr=False)
    until: float  # unix seconds

    @classmethod
    def from_json(cls, data: bytes) -> WorkloadToken:
        """Read what `token.json` holds.

        Raises:
            IdentityError: a part is missing, or the token names another key. Nothing of either
                is in its text.
        """
        content = strict_json(data, "content")
        wit = content.get("wit") if isinstance(content, dict) else None
        pem = content.get("key") if isinstance(content, dict) else None
        if not isinstance(wit, str) or not isinstance(pem, str):
            raise IdentityError("it has no wit, or no key")
        token = parse(wit)
        try:
            key = load_pem_private_key(pem.encode(), password=None)
        except (ValueError, TypeError) as error:
            raise IdentityError("its key cannot be read, or has a password") from error
        if not isinstance(key, PrivateKey):
            raise IdentityError("its key is neither ECDSA nor RSA")
        cnf = token.claims.get("cnf")
        jwk = cnf.get("jwk") if isinstance(cnf, dict) else None
        if not isinstance(jwk, dict) or read_jwk(jwk).thumbprint != thumbprint(key.public_key()):
            raise IdentityError("its token names another key than the one beside it")
        until = number(token.claims, "exp")
        if until is None:
            raise IdentityError("its token has no end")
        return cls(subject_of(token), wit, key, until)


class TokenFile:
    """Follows the token of one identity. Safe to use from any thread.

    Args:
        directory: where it lies; it may appear later.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = FollowedFiles(directory, (_NAME,), self._read)
        self._token: WorkloadToken | None = None

    def token(self, now: float) -> WorkloadToken | None:
        """Return the token; None: there is none, or it has ended.

        Args:
            now: unix seconds.
        """
        self._file.look()
        token = self._token
        return token if token is not None and now < token.until else None

    def _read(self, states: States) -> str | None:
        if states == (None,):
            return None
        try:
            self._token = WorkloadToken.from_json(read_secret(self.directory / _NAME))
        except (IdentityError, OSError) as error:
            stays = "what was read before stays" if self._token else "there is no token"
            return f"{_NAME}: {error}; {stays}"
        return None
