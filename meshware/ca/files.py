"""Authorities and identities that a person makes and moves: roots kept offline, one for each node.

::

    <root directory>/root.pem            key and certificate; stays offline
    <root directory>/root.crt            the certificate alone
    <root directory>/issued/*.crt        what it has vouched for, to be denied when a node is lost
    <a node's directory>/intermediate.pem, root.crt    see `given`

Directories are made with mode 0700; files with keys have mode 0600.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from meshware.ca.guarded import opened, write_file
from meshware.ca.identities import BUNDLE_NAME, SVID_NAME, roots_pem
from meshware.ca.store import issuer_pem, read_issuer, trust_domain_in
from meshware.errors import IdentityError, SyncError
from meshware.identity.bundle import Bundle, fingerprint
from meshware.identity.issue import Issuer, issue_intermediate, issue_root, new_key
from meshware.identity.svid import X509SVID
from meshware.runtime.followed_files import read_secret

__all__ = ["make_intermediate", "make_root", "write_identity"]

_PUBLIC = 0o644


def make_root(directory: Path, trust_domain: str, now: datetime, life_s: float) -> Issuer:
    """Make a root.

    Raises:
        SyncError: there is one.
        IdentityError: the trust domain is no name of one.
        OSError: it cannot be written.
    """
    if (directory / "root.pem").exists():
        raise SyncError(f"there is a root in {directory} already; name another place by --dir")
    root = issue_root(trust_domain, new_key(), now, life_s)
    _make(directory)
    with opened(directory) as place:
        write_file(place, "root.pem", issuer_pem(root).encode(), None)
        write_file(place, "root.crt", _pem(root.certificate), None, mode=_PUBLIC)
    return root


def make_intermediate(root_dir: Path, node: str, out: Path, now: datetime, life_s: float) -> Issuer:
    """Make the authority of a node, or the one that follows it.

    Raises:
        SyncError: there is no root, or it cannot be used.
        IdentityError: the root has ended.
        OSError: it cannot be written.
    """
    path = root_dir / "root.pem"
    try:
        pem = read_secret(path)
        root = read_issuer(pem, trust_domain_in(pem, str(path)))
    except FileNotFoundError:
        raise SyncError(
            f"there is no root in {root_dir}: make one by `meshware cert init-root`"
        ) from None
    except IdentityError as error:
        raise SyncError(f"{path} cannot be used: {error}") from error
    made = issue_intermediate(root, new_key(), now, life_s, f"node {node}")
    _make(out)
    _make(root_dir / "issued")
    with opened(root_dir / "issued") as place:
        name = f"{node}-{fingerprint(made.certificate)[:16]}.crt"
        write_file(place, name, _pem(made.certificate), None, mode=_PUBLIC)
    with opened(out) as place:
        write_file(place, "root.crt", _pem(root.certificate), None, mode=_PUBLIC)
        write_file(place, "intermediate.pem", issuer_pem(made).encode(), None)
    return made


def write_identity(directory: Path, svid: X509SVID, bundle: Bundle) -> None:
    """Write an identity as the daemon does.

    Raises:
        OSError: it cannot be written.
    """
    _make(directory)
    with opened(directory) as place:
        write_file(place, BUNDLE_NAME, roots_pem(bundle).encode(), None)
        write_file(place, SVID_NAME, svid.pem.encode(), None)


def _make(directory: Path) -> None:
    if not directory.exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700)
        directory.chmod(0o700)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
