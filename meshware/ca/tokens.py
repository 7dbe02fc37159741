"""The token authority: signs identity tokens and JWT-SVIDs, with keys of its own.

Its keys have nothing to do with those of certificates: whoever steals one cannot use it for the
other. They lie in one file of mode 0600 in the state directory, made on first start.

A new key is *published before it signs*, and an old one stays published until the last token that
it signed has ended:

1. `rotate` adds a key. `public_keys` has it from now on; it signs from `SETTLE_S` later, when every
   worker knows it.
2. From then on the old key signs nothing more.
3. The longest life of a token later `public_keys` has it no more, and the next `rotate` or start
   drops it from the file.

Not safe for two processes: the daemon holds the lock of its state directory.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from meshware.errors import IdentityError
from meshware.identity.issue import new_key
from meshware.identity.jwk import JWT_SVID, WIT_SVID, public_jwk
from meshware.identity.jwt_svid import (
    JWT_SVID_LIFE_S,
    LEEWAY_S,
    MAX_JWT_SVID_LIFE_S,
    mint_jwt_svid,
)
from meshware.identity.spiffe import SpiffeID, is_trust_domain
from meshware.identity.wimse import WIT_LIFE_S, mint_wit
from meshware.runtime.files import remove_leftovers, replace_file

__all__ = ["KEY_LIFE_S", "SETTLE_S", "IssuedToken", "TokenAuthority"]

KEY_LIFE_S = 30 * 86_400.0
"""How long a key signs before the daemon should rotate it; see `is_due`."""

SETTLE_S = 60.0
"""How long a key is published before it signs. Workers follow policy within a second."""

_FILE = "tokens.json"
_VERSION = 1
_MOST_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """What a workload gets: an identity token with the key that it names."""

    wit: str = field(repr=False)
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    from_s: float  # unix seconds
    until_s: float

    @property
    def renew_at(self) -> float:
        """Half of its life, in unix seconds."""
        return (self.from_s + self.until_s) / 2

    @property
    def json(self) -> str:
        """What `token.json` holds: for a file of mode 0600 and nowhere else."""
        return json.dumps({"wit": self.wit, "key": _pem(self.key)})


@dataclass(frozen=True, slots=True)
class _Key:
    use: str  # `JWT_SVID` or `WIT_SVID`
    id: str
    signs_from: float  # unix seconds
    key: ec.EllipticCurvePrivateKey = field(repr=False)


class TokenAuthority:
    """Signs tokens for the workloads of one trust domain. Not safe to use from several threads.

    Args:
        directory: of the daemon's state; exists, mode 0700.
        trust_domain: whose workloads; it signs for no other.
        now: unix seconds.
        life_s: of identity tokens.

    Raises:
        IdentityError: its file cannot be used; the text says what to do.
        OSError: its file cannot be read or written.
    """

    def __init__(
        self, directory: Path, trust_domain: str, now: float, life_s: float = WIT_LIFE_S
    ) -> None:
        if not is_trust_domain(trust_domain):
            raise IdentityError("a token authority needs a trust domain")
        self.trust_domain = trust_domain
        self.life_s = life_s
        self._path = directory / _FILE
        remove_leftovers(self._path)
        self._keys = self._read()
        if not self._keys:
            self._keys = _generation(now)
            self._write()

    # --- what it publishes --------------------------------------------------------------------

    def public_keys(self, now: float) -> tuple[Mapping[str, str], ...]:
        """Return the keys by which its tokens are verified, for `Bundle.tokens`."""
        return tuple(
            public_jwk(one.key, kid=one.id, use=one.use) for one in self._alive(self._keys, now)
        )

    # --- what it signs ------------------------------------------------------------------------

    def issue(self, spiffe_id: SpiffeID, now: float) -> IssuedToken:
        """Return an identity token with a key of its own.

        Raises:
            IdentityError: the ID is another trust domain's.
        """
        self._must_be_ours(spiffe_id)
        signer, workload = self._signer(WIT_SVID, now), new_key()
        wit = mint_wit(
            signer.key,
            signer.id,
            spiffe_id,
            workload,
            now=now,
            jti=secrets.token_urlsafe(16),
            life_s=self.life_s,
        )
        return IssuedToken(wit, workload, now, float(int(now + self.life_s)))

    def issue_jwt_svid(
        self, spiffe_id: SpiffeID, audience: str, now: float, life_s: float = JWT_SVID_LIFE_S
    ) -> str:
        """Return a JWT-SVID for one audience.

        Raises:
            IdentityError: the ID is another trust domain's, or the life longer than any may be.
        """
        self._must_be_ours(spiffe_id)
        if not audience or not 0 < life_s <= MAX_JWT_SVID_LIFE_S:
            raise IdentityError(
                f"a JWT-SVID needs an audience and lives {MAX_JWT_SVID_LIFE_S:.0f} s at most"
            )
        signer = self._signer(JWT_SVID, now)
        return mint_jwt_svid(
            signer.key,
            signer.id,
            spiffe_id,
            audience=audience,
            now=now,
            life_s=life_s,
            jti=secrets.token_urlsafe(16),
        )

    # --- rotation -----------------------------------------------------------------------------

    def is_due(self, now: float) -> bool:
        """Say whether the newest key has signed long enough."""
        return max(one.signs_from for one in self._keys) + KEY_LIFE_S <= now

    def rotate(self, now: float) -> None:
        """Add new keys, and drop those that no token can bear any more.

        Raises:
            OSError: the file cannot be written; nothing has changed.
        """
        before = self._keys
        self._keys = (*self._alive(before, now), *_generation(now + SETTLE_S))
        try:
            self._write()
        except OSError:
            self._keys = before
            raise

    # --- inside -------------------------------------------------------------------------------

    def _signer(self, use: str, now: float) -> _Key:
        """Return the newest key that signs by now; the first where the clock went back."""
        keys = sorted((one for one in self._keys if one.use == use), key=lambda one: one.signs_from)
        return next((one for one in reversed(keys) if one.signs_from <= now), keys[0])

    def _alive(self, keys: tuple[_Key, ...], now: float) -> tuple[_Key, ...]:
        """Return the keys by which a token that has not ended may be signed."""
        longest = max(self.life_s, MAX_JWT_SVID_LIFE_S) + LEEWAY_S

        def is_alive(one: _Key) -> bool:
            later = [
                other.signs_from
                for other in keys
                if other.use == one.use and other.signs_from > one.signs_from
            ]
            return not later or now < min(later) + longest

        return tuple(one for one in keys if is_alive(one))

    def _must_be_ours(self, spiffe_id: SpiffeID) -> None:
        if spiffe_id.trust_domain != self.trust_domain:
            raise IdentityError(
                f"the token authority of {self.trust_domain} signs nothing for "
                f"{spiffe_id.trust_domain}"
            )

    def _read(self) -> tuple[_Key, ...]:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return ()
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or about.st_mode & 0o077:
                raise IdentityError(
                    f"{self._path} holds keys that others may read; chmod 600, and rotate them"
                )
            data = file.read(_MOST_BYTES + 1)
        try:
            content = json.loads(data)
            if content["version"] != _VERSION or content["trust_domain"] != self.trust_domain:
                raise IdentityError(
                    f"{self._path} is of another trust domain or version; move it away, and new "
                    "keys are made"
                )
            keys = tuple(_read_key(one) for one in content["keys"])
        except (ValueError, KeyError, TypeError) as error:
            raise IdentityError(
                f"{self._path} cannot be read; put back a copy of it, or move it away and new "
                "keys are made"
            ) from error
        if {one.use for one in keys} != {JWT_SVID, WIT_SVID}:
            raise IdentityError(f"{self._path} lacks a key; move it away, and new keys are made")
        return keys

    def _write(self) -> None:
        content = {
            "version": _VERSION,
            "trust_domain": self.trust_domain,
            "keys": [
                {
                    "use": one.use,
                    "kid": one.id,
                    "signs_from": one.signs_from,
                    "key": _pem(one.key),
                }
                for one in self._keys
            ],
        }
        replace_file(self._path, json.dumps(content).encode(), mode=0o600, is_durable=True)


def _generation(signs_from: float) -> tuple[_Key, ...]:
    return tuple(
        _Key(use, secrets.token_urlsafe(16), signs_from, new_key()) for use in (JWT_SVID, WIT_SVID)
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _read_key(written: Mapping[str, object]) -> _Key:
    key = load_pem_private_key(str(written["key"]).encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("no key of ours")
    signs_from = written["signs_from"]
    if not isinstance(signs_from, int | float):
        raise ValueError("no date")
    return _Key(str(written["use"]), str(written["kid"]), float(signs_from), key)
