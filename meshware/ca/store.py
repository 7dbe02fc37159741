"""Keep an authority in files: its roots and intermediates with their keys, and which one issues.

::

    <state directory>/ca/<trust domain>/
        state.json             which generations there are, which issues, how far a rotation is
        1/root.pem             key and certificate of a root
        1/intermediate-1.pem   key and chain, root last, of an intermediate below it

Each file is replaced whole, and `state.json` last: what it does not name is not there. So a daemon
that was killed at any instant finds the state before or after, and clears the rest away.
Directories have mode 0700, files 0600.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from cryptography import x509

from meshware.errors import IdentityError, SyncError
from meshware.identity.bundle import read_certificates
from meshware.identity.issue import Issuer
from meshware.identity.svid import read_key
from meshware.runtime.files import remove_leftovers, replace_file, sync_directory

__all__ = [
    "Generation",
    "Rotation",
    "State",
    "Store",
    "issuer_pem",
    "read_issuer",
    "trust_domain_in",
    "trust_domains_in",
]

STATE_FORMAT = 1

_MOST_BYTES = 256 * 1024
_INTERMEDIATE = re.compile(r"intermediate-([1-9][0-9]{0,8})\.pem")


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """A change of root that has begun."""

    id: str  # of the request
    next: int  # the generation that is to issue
    phase: Literal["announced", "issuing"]
    since: str  # ISO 8601, UTC
    drop_at: float | None = None  # unix seconds, when the old root goes; None: not known yet


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Which generations of an authority there are."""

    meshware: int = STATE_FORMAT
    trust_domain: str
    issuing: int
    trusted: tuple[int, ...]  # whose roots are in the bundle
    longest_leaf_s: float = 0.0  # of all that was issued
    rotation: Rotation | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """A root with the intermediates below it, oldest first, by number."""

    root: Issuer
    intermediates: dict[int, Issuer]


class Store:
    """The files of one trust domain's authority.

    Args:
        authorities: the directory of all of them.
        trust_domain: whose it is.
    """

    def __init__(self, authorities: Path, trust_domain: str) -> None:
        self._authorities = authorities
        self._trust_domain = trust_domain
        name = trust_domain
        if name.startswith(".") or len(name) > 200:  # no file name, or hardly one
            name = hashlib.sha256(name.encode()).hexdigest()
        self.directory = authorities / name
        self._state_file = self.directory / "state.json"

    def exists(self) -> bool:
        """Say whether there is an authority, whole or damaged."""
        return self._state_file.exists()

    def load(self) -> tuple[State, dict[int, Generation]]:
        """Read everything; nothing is changed.

        Raises:
            SyncError: a file is missing or damaged; the message says which.
            OSError: a file cannot be read.
        """
        try:
            state = msgspec.json.decode(_read(self._state_file), type=State)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _damaged(self._state_file, "it is not what a daemon writes") from error
        if state.meshware != STATE_FORMAT or state.trust_domain != self._trust_domain:
            raise _damaged(self._state_file, "it is of another format or trust domain")
        generations = {number: self._generation(number) for number in state.trusted}
        if state.issuing not in generations or not generations[state.issuing].intermediates:
            raise _damaged(self._state_file, "what issues is missing")
        return state, generations

    def tidy(self, state: State) -> None:
        """Clear away what a killed daemon left, and see to it that nobody else can read the rest.

        For the daemon alone: what another is writing just now would go, too.

        Raises:
            OSError: it cannot be done.
        """
        remove_leftovers(self._state_file)
        self._make(self.directory)
        for path in self.directory.iterdir():
            if not path.name.isdecimal():
                continue
            if int(path.name) not in state.trusted:
                shutil.rmtree(path)
                continue
            self._make(path)
            for file in path.iterdir():
                if file.name.endswith(".tmp"):
                    file.unlink(missing_ok=True)
                else:
                    file.chmod(0o600)

    def save_root(self, number: int, root: Issuer) -> None:
        """Keep the root of a generation.

        Raises:
            OSError: it cannot be written.
        """
        self._write(self._place(number) / "root.pem", issuer_pem(root))

    def save_intermediate(self, number: int, count: int, issuer: Issuer) -> None:
        """Keep an intermediate of a generation.

        Raises:
            OSError: it cannot be written.
        """
        self._write(self._place(number) / f"intermediate-{count}.pem", issuer_pem(issuer))

    def save_state(self, state: State) -> None:
        """Keep which generations there are; those that are not named any more are removed.

        Raises:
            OSError: it cannot be written.
        """
        self._make(self.directory)
        text = msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n"
        replace_file(self._state_file, text, mode=0o600, is_durable=True)
        for path in self.directory.iterdir():
            if path.name.isdecimal() and int(path.name) not in state.trusted:
                shutil.rmtree(path)

    def remove_intermediate(self, number: int, count: int) -> None:
        """Forget an intermediate that has ended.

        Raises:
            OSError: it cannot be removed.
        """
        (self.directory / str(number) / f"intermediate-{count}.pem").unlink(missing_ok=True)

    # --- inside -------------------------------------------------------------------------------

    def _generation(self, number: int) -> Generation:
        place = self.directory / str(number)
        root = self._issuer(place / "root.pem")
        found = {
            int(name[1]): path
            for path in place.iterdir()
            if (name := _INTERMEDIATE.fullmatch(path.name))
        }
        return Generation(root, {count: self._issuer(found[count]) for count in sorted(found)})

    def _issuer(self, path: Path) -> Issuer:
        try:
            return read_issuer(_read(path), self._trust_domain)
        except FileNotFoundError:
            raise _damaged(path, "it is missing") from None
        except IdentityError as error:
            raise _damaged(path, str(error)) from error

    def _place(self, number: int) -> Path:
        place = self.directory / str(number)
        self._make(place)
        return place

    def _make(self, path: Path) -> None:
        above = [self._authorities, self.directory]
        for directory in dict.fromkeys([*above, path]):
            directory.mkdir(mode=0o700, exist_ok=True)
            directory.chmod(0o700)

    def _write(self, path: Path, text: str) -> None:
        replace_file(path, text.encode(), mode=0o600, is_durable=True)
        sync_directory(path.parent.parent)


def trust_domains_in(authorities: Path) -> list[str]:
    """Return the trust domains that have an authority in a directory, sorted."""
    found = []
    for path in authorities.glob("*/state.json"):
        try:
            found.append(msgspec.json.decode(_read(path), type=State).trust_domain)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _damaged(path, "it is not what a daemon writes") from error
    return sorted(found)


def issuer_pem(issuer: Issuer) -> str:
    """Return what a file of an authority holds: the key, then the chain with the root."""
    return issuer.key_pem + issuer.cert_pem


def read_issuer(pem: bytes, trust_domain: str) -> Issuer:
    """Read an authority's key and chain, root last.

    Raises:
        IdentityError: a part is missing, or does not fit the other. No text of a key is in it.
    """
    chain = read_certificates(pem, "the authority's certificate")
    return Issuer(trust_domain, chain, read_key(pem, chain[0]))


def trust_domain_in(pem: bytes, what: str) -> str:
    """Return the trust domain that an authority's certificate names.

    Raises:
        IdentityError: it names none.
    """
    certificate = read_certificates(pem, what)[0]
    uris: list[str] = []
    with contextlib.suppress(x509.ExtensionNotFound):
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    for uri in uris:
        if uri.startswith("spiffe://") and "/" not in uri[9:]:
            return uri[9:]
    raise IdentityError(f"{what} names no trust domain")


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(_MOST_BYTES)


def _damaged(path: Path, why: str) -> SyncError:
    return SyncError(
        f"the authority's file {path} cannot be used: {why}; bring the state directory back from "
        "a backup"
    )
