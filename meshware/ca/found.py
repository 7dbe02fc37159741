"""Find the authorities beside identities that somebody else writes (`identity.provider: files`).

What lies in `identity/<namespace>/<service account>/` is read and never written. Roots come from
`bundle.pem`, or `ca.crt` where that is absent; they vouch for every workload of the trust domain,
so they are taken only from files that nobody but root or the daemon's own user can write, or put
there: not the file, nor any directory from `identity` down. What is between a root and a leaf is
not trusted, and taken from `svid.pem` and `tls.crt` of anybody.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography import x509

from meshware.errors import IdentityError
from meshware.identity.bundle import Bundle, fingerprint, read_certificates
from meshware.runtime.followed_files import read_file, state_of

__all__ = ["FoundAuthorities", "has_bundle", "identity_files"]

_MOST_DIRECTORIES = 4096
_MOST_BETWEEN = 256
_ROOTS, _CHAINS = ("bundle.pem", "ca.crt"), ("svid.pem", "tls.crt")
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH

_Seen = tuple[object, ...]


class FoundAuthorities:
    """Follows the authorities beside identities. For one thread at a time.

    Args:
        run_dir: the run directory.
        tell: told, once for each, what is not taken and why.
    """

    def __init__(self, run_dir: Path, tell: Callable[[str], None]) -> None:
        self._identities = run_dir / "identity"
        self._tell = tell
        self._seen: _Seen | None = None  # None: a file was there and could not be opened
        self._bundle: Bundle | None = None

    def bundle(self, trust_domain: str) -> Bundle | None:
        """Return the bundle that lies there now; None: no root does.

        While files cannot be read, what was read before stays.
        """
        directories = list(identity_files(self._identities))
        seen: _Seen = (trust_domain, state_of(self._identities), *map(_state, directories))
        if seen != self._seen:
            self._seen = seen
            found = self._read(trust_domain, directories)
            # Files that vanish for a moment, as a mount does, take nobody's trust away.
            if found is not None or (self._bundle and self._bundle.trust_domain != trust_domain):
                self._bundle = found
        return self._bundle

    def _read(self, trust_domain: str, directories: list[Path]) -> Bundle | None:
        roots: dict[str, x509.Certificate] = {}
        between: dict[str, x509.Certificate] = {}
        for directory in directories:
            for name in _ROOTS:
                path = directory / name
                certificates = self._certificates(path, is_trusted=True)
                if certificates is None:
                    continue
                signed = [one for one in certificates if one.subject == one.issuer]
                roots.update((fingerprint(one), one) for one in signed or certificates)
                between.update((fingerprint(one), one) for one in certificates)
                break
            for name in _CHAINS:
                chain = self._certificates(directory / name, is_trusted=False) or ()
                between.update((fingerprint(one), one) for one in chain[1:])
        if not roots:
            return None
        others = [between[name] for name in sorted(between) if name not in roots]
        return Bundle(
            trust_domain,
            tuple(roots[name] for name in sorted(roots)),
            tuple(others[:_MOST_BETWEEN]),
        )

    def _certificates(self, path: Path, *, is_trusted: bool) -> tuple[x509.Certificate, ...] | None:
        check = functools.partial(_check_writers, path) if is_trusted else None
        try:
            return read_certificates(read_file(path, check), str(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if not isinstance(error, PermissionError):  # whose end shows in the file's state
                self._seen = None
            self._tell(f"{path} is not read: {(error.strerror or str(error)).lower()}")
        except IdentityError as error:
            self._tell(str(error) if str(path) in str(error) else f"{path.parent}: {error}")
        return None


def identity_files(identities: Path) -> Iterator[Path]:
    """Yield the directories of identities, sorted: `<namespace>/<service account>`."""
    count = 0
    for namespace in _names(identities):
        for name in _names(identities / namespace):
            count += 1
            if count > _MOST_DIRECTORIES:
                return
            yield identities / namespace / name


def _names(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return sorted(name for name in os.listdir(path) if not name.startswith("."))
    return []


def _state(directory: Path) -> _Seen:
    places = (directory.parent, directory, *(directory / name for name in (*_ROOTS, *_CHAINS)))
    return (str(directory), *map(state_of, places))


def _check_writers(path: Path, about: os.stat_result) -> None:
    """Refuse a file that others than root and the daemon's user could have written, or put there.

    The run directory itself is the operator's affair.
    """
    above = (each.stat() for each in path.parents[:3])  # account, namespace, `identity`
    for what in (about, *above):
        if what.st_uid not in (0, os.geteuid()) or what.st_mode & _WRITABLE:
            raise IdentityError(
                f"{path} is not taken as a root of the mesh: others than root and the daemon's "
                "user can write it, or put another there"
            )


def has_bundle(directory: Path, trust_domain: str) -> bool:
    """Say whether anything in the directory of an identity is of a trust domain's authority."""
    for name in (*_ROOTS, *_CHAINS):
        try:
            certificates = read_certificates(read_file(directory / name), name)
        except (OSError, IdentityError):
            continue
        if any(_may_be_of(certificate, trust_domain) for certificate in certificates):
            return True
    return False


def _may_be_of(certificate: x509.Certificate, trust_domain: str) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return True  # a root of somebody who names no trust domain
    except ValueError:
        return False
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    own = f"spiffe://{trust_domain}"
    return not uris or any(uri == own or uri.startswith(f"{own}/") for uri in uris)
