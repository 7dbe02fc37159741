"""Find the authorities beside identities that somebody else writes (`identity.provider: files`).

What lies in `identity/<namespace>/<service account>/` is read and never written. Roots come from
`bundle.pem`, or `ca.crt` where that is absent; they vouch for every workload of the trust domain,
so they are taken only from files that nobody but root or the daemon's own user can write. What is
between a root and a leaf is not trusted, and taken from `svid.pem` and `tls.crt` of anybody.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography import x509

from meshware.errors import IdentityError
from meshware.identity.bundle import Bundle, fingerprint, read_certificates

__all__ = ["FoundAuthorities", "has_bundle", "identity_files"]

_MOST_BYTES = 256 * 1024
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
        self._seen: _Seen | None = None
        self._bundle: Bundle | None = None

    def bundle(self, trust_domain: str) -> Bundle | None:
        """Return the bundle that lies there now; None: no root does.

        What cannot be read for now keeps what was read before: see `_read`.
        """
        directories = list(identity_files(self._identities))
        seen: _Seen = (trust_domain, *(_state(path) for path in directories))
        if seen != self._seen:
            found = self._read(trust_domain, directories)
            self._seen = seen
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
        try:
            data = _read(path, is_trusted=is_trusted)
            return read_certificates(data, str(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._tell(f"{path} is not read: {(error.strerror or str(error)).lower()}")
        except IdentityError as error:
            self._tell(str(error))
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
    found: list[object] = [str(directory)]
    for name in (*_ROOTS, *_CHAINS):
        try:
            about = (directory / name).stat()
        except OSError:
            found.append(None)
        else:
            found.append((about.st_ino, about.st_size, about.st_mtime_ns, about.st_mode))
    return tuple(found)


def _read(path: Path, *, is_trusted: bool) -> bytes:
    """Return the bytes of a file. Links are followed: a mounted Secret is made of them.

    Raises:
        IdentityError: it must be trusted, and somebody else could have written it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise IdentityError(f"{path} is not a file")
        if is_trusted:
            for what in (about, path.parent.stat()):
                if what.st_uid not in (0, os.geteuid()) or what.st_mode & _WRITABLE:
                    raise IdentityError(
                        f"{path} is not taken as a root of the mesh: others than root and the "
                        "daemon's user can write it"
                    )
        return file.read(_MOST_BYTES)


def has_bundle(directory: Path, trust_domain: str) -> bool:
    """Say whether anything in the directory of an identity is of a trust domain's authority."""
    for name in (*_ROOTS, *_CHAINS):
        try:
            certificates = read_certificates(_read(directory / name, is_trusted=False), name)
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
