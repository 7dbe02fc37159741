"""A workload's key and chain in files that somebody else keeps current.

The directory is `identity/<namespace>/<service account>` in the run directory. In it lies
`svid.pem` (key and chain in one file, so that the two are always a pair), or `tls.crt` and
`tls.key`, as cert-manager writes them. Beside it may lie the roots of our own trust domain, as
`bundle.pem` or `ca.crt`. Where what comes cannot be used, what was read before stays: certificates
end by themselves.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from meshware.errors import IdentityError
from meshware.identity.bundle import Bundle, read_certificates
from meshware.identity.svid import X509SVID
from meshware.runtime.followed_files import FollowedFiles, States, read_file, read_secret

__all__ = ["SVIDFiles", "read_svid"]

_NAMES = ("svid.pem", "tls.crt", "tls.key", "bundle.pem", "ca.crt")


class SVIDFiles:
    """Follows the files of one identity. Safe to use from any thread.

    Args:
        directory: where they lie; they may appear later.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._files = FollowedFiles(directory, _NAMES, self._read)
        self._svid: X509SVID | None = None
        self._roots: tuple[x509.Certificate, ...] = ()
        self._bundle: Bundle | None = None

    def svid(self) -> X509SVID | None:
        """Return the SVID; None: there has been none yet."""
        self._files.look()
        return self._svid

    def bundle(self, trust_domain: str) -> Bundle | None:
        """Return the roots that lie beside it, as those of a trust domain; None: none lie there."""
        self._files.look()
        kept, roots = self._bundle, self._roots
        if not roots:
            return None
        if kept is None or kept.roots is not roots or kept.trust_domain != trust_domain:
            kept = self._bundle = Bundle(trust_domain, roots)
        return kept

    def _read(self, states: States) -> str | None:
        """Read what is there, each part by itself; return what cannot be used of it."""
        pem, crt, key, *roots = states
        problems = []
        try:
            if pem is not None or (crt is not None and key is not None):
                self._svid = read_svid(self.directory)
        except (IdentityError, OSError) as error:
            problems.append(str(error))
        try:
            for name, found in zip(_NAMES[3:], roots, strict=True):
                if found is not None:
                    self._roots = read_certificates(read_file(self.directory / name), name)
                    break
        except (IdentityError, OSError) as error:
            problems.append(str(error))
        if not problems:
            return None
        stays = "what was read before stays in use" if self._svid else "there is no identity"
        return "; ".join([*problems, stays])


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
    return X509SVID.from_pem(read_file(directory / "tls.crt"), key)
