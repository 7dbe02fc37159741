"""A workload's key and chain in files that somebody else keeps current.

1. The directory is `identity/<namespace>/<service account>` in the run directory. In it lies
   `svid.pem` (key and chain in one file, so that the two are always a pair), or `tls.crt` and
   `tls.key`, as cert-manager writes them.
2. Files are looked at when somebody asks, and no oftener than each quarter of a second.
3. What cannot be used (half written, a key of another certificate, readable by others) is told once
   in the log, and what was read before stays: certificates end by themselves. It is read again at
   each look until it can be used, whether or not it seems to change: what was wrong may have been
   the process's own (no descriptor left), or a write within one tick of the file system's clock.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from pathlib import Path

from cryptography import x509

from meshware.errors import IdentityError
from meshware.identity.bundle import Bundle, read_certificates
from meshware.identity.svid import X509SVID
from meshware.runtime.fork import renew_after_fork

__all__ = ["SVIDFiles", "read_secret", "read_svid", "state_of"]

_LOOK_AGAIN_S = 0.25
_MOST_BYTES = 256 * 1024

_log = logging.getLogger("meshware.identity")

_State = tuple[tuple[int, ...] | None, ...]


class SVIDFiles:
    """Follows the files of one identity. Safe to use from any thread.

    Args:
        directory: where they lie; they may appear later.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._svid: X509SVID | None = None
        self._roots: tuple[x509.Certificate, ...] = ()
        self._bundle: Bundle | None = None
        self._state: _State | None = None
        self._looked_at = float("-inf")
        self._told: str | None = None
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forget, in a child process, the lock of the parent."""
        self._lock = threading.Lock()

    def svid(self) -> X509SVID | None:
        """Return the SVID; None: there has been none yet."""
        self._look()
        return self._svid

    def bundle(self, trust_domain: str) -> Bundle | None:
        """Return the roots that lie beside it, as those of a trust domain; None: none lie there."""
        self._look()
        kept, roots = self._bundle, self._roots
        if not roots:
            return None
        if kept is None or kept.roots is not roots or kept.trust_domain != trust_domain:
            kept = self._bundle = Bundle(trust_domain, roots)
        return kept

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < _LOOK_AGAIN_S:
            return
        with self._lock:
            if now - self._looked_at < _LOOK_AGAIN_S:
                return
            state = tuple(
                state_of(self.directory / name)
                for name in ("svid.pem", "tls.crt", "tls.key", "bundle.pem", "ca.crt")
            )
            if state != self._state:
                self._state = state if self._read(state) else None
            self._looked_at = now

    def _read(self, state: _State) -> bool:
        """Read what is there, each part by itself; say whether all of it can be used."""
        problems = []
        for part in (self._read_svid, self._read_roots):
            try:
                part(state)
            except (IdentityError, OSError) as error:
                problems.append(str(error))
        if problems:
            self._tell("; ".join(problems))
        else:
            self._told = None
        return not problems

    def _read_svid(self, state: _State) -> None:
        if state[0] is not None:
            self._svid = X509SVID.from_pem(read_secret(self.directory / "svid.pem"))
        elif state[1] is not None and state[2] is not None:
            key = read_secret(self.directory / "tls.key")
            self._svid = X509SVID.from_pem(_read(self.directory / "tls.crt"), key)

    def _read_roots(self, state: _State) -> None:
        for name, found in (("bundle.pem", state[3]), ("ca.crt", state[4])):
            if found is not None:
                self._roots = read_certificates(_read(self.directory / name), name)
                return

    def _tell(self, problem: str) -> None:
        if problem != self._told:
            self._told = problem
            stays = "what was read before stays in use" if self._svid else "there is no identity"
            _log.error("%s cannot be used: %s; %s", self.directory, problem, stays)


def read_svid(directory: Path) -> X509SVID:
    """Return the key and chain that lie in the directory of an identity.

    Raises:
        IdentityError: they cannot be used.
        OSError: they cannot be read.
    """
    path = directory / "svid.pem"
    if path.exists() or not (directory / "tls.crt").exists():
        return X509SVID.from_pem(read_secret(path))
    key = read_secret(directory / "tls.key")
    return X509SVID.from_pem(_read(directory / "tls.crt"), key)


def state_of(path: Path) -> tuple[int, ...] | None:
    """Return what changes with a file; None: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def read_secret(path: Path) -> bytes:
    """Return the bytes of a file that nobody else may read.

    Raises:
        IdentityError: others may read it.
    """
    return _read(path, is_secret=True)


def _read(path: Path, *, is_secret: bool = False) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise IdentityError(f"{path.name} is not a file")
        if about.st_size > _MOST_BYTES:
            raise IdentityError(f"{path.name} has more than {_MOST_BYTES} bytes")
        if is_secret and about.st_mode & _others_of(about):
            mode = stat.S_IMODE(about.st_mode)
            raise IdentityError(
                f"{path.name} holds a key that others may read (mode {mode:04o}); chmod 600"
            )
        return os.read(descriptor, _MOST_BYTES + 1)
    finally:
        os.close(descriptor)


def _others_of(about: os.stat_result) -> int:
    """Return the rights that nobody else may have.

    A file of root's that is read through a group of ours is as Kubernetes mounts a secret for a pod
    with `fsGroup`: there is no other way for us to read it.
    """
    is_mounted = about.st_uid == 0 != os.geteuid() and about.st_gid in {
        os.getegid(),
        *os.getgroups(),
    }
    others = stat.S_IWGRP | stat.S_IRWXO
    return others if is_mounted else others | stat.S_IRGRP
