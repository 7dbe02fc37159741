"""Verify the chain that a peer shows: is it exactly one SPIFFE ID, vouched for by its own domain?

OpenSSL has verified a chain in the handshake already, against the roots of every trust domain in
one pool. That is not enough: a partner's root could sign an ID of ours. So every chain is verified
again, here, against the bundle of the ID's own trust domain alone.

1. The leaf bears exactly one URI, and it is a SPIFFE ID (X509-SVID 2, SPIFFE-ID 2).
2. The leaf is no authority and may sign, and its purposes hold the role (X509-SVID 4, Appendix A).
3. A path leads from it to a root of that trust domain: signatures, validity at both ends, path
   lengths, name constraints (RFC 5280 6). Intermediates come from the peer or from the bundle.
4. Nothing on the path is denied by policy, or has a critical extension that nobody here knows.
   A path around a denied authority is as good as any.
5. What was verified is remembered with the bundles that it was verified against, for as long as all
   of its path holds: the answer could be no other, and signatures are nearly all that it costs.
   That the peer has the key is proved by each handshake anew.

Name constraints on URIs are not carried out: an authority that has them vouches for nobody here,
which X509-SVID 4.2 leaves to us, and which errs on the safe side.

Source: SPIFFE X509-SVID 5.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
)

from meshware.errors import IdentityError, PeerIdentityError
from meshware.identity.bundle import Bundles, fingerprint
from meshware.identity.spiffe import SpiffeID

__all__ = ["MAX_CHAIN", "Role", "Verified", "id_of", "load_chain", "verify_chain"]

Role = Literal["client", "server"]
"""What the peer is in the connection: a client shows its chain to a server, and the reverse."""

MAX_CHAIN = 8
"""Certificates that are looked at: more is no chain that anybody needs, and costs us."""

_PURPOSE = {
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
}
_UNDERSTOOD = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_LEAST_RSA_BITS = 2048
_MOST_KNOWN = 1024
_SHA256 = hashes.SHA256()


@dataclass(frozen=True, slots=True)
class Verified:
    """Who a peer is, and until when what it showed says so."""

    id: SpiffeID
    until: float  # unix seconds: the first end on the path


class _Known(NamedTuple):
    """A verified chain, and since when all of its path holds."""

    verified: Verified
    begins: float  # unix seconds


def verify_chain(
    chain: Sequence[x509.Certificate], bundles: Bundles, now: datetime, role: Role
) -> Verified:
    """Return who a peer is.

    Args:
        chain: as shown: the leaf first, then whatever else the peer or the server shows.
        bundles: whom to believe.
        now: aware UTC.
        role: the peer's.

    Raises:
        PeerIdentityError: it is nobody; the reason is for the log.
    """
    if not chain:
        raise _refused("it shows no certificate")
    if len(chain) > MAX_CHAIN:
        raise _refused(f"it shows more than {MAX_CHAIN} certificates")
    try:
        key = _key(chain, role)
        known: _Known | None = bundles.known.get(key)
        if known is not None and known.begins <= now.timestamp() < known.verified.until:
            return known.verified
        found = _verified(chain[0], chain[1:], bundles, now, role)
        if len(bundles.known) >= _MOST_KNOWN:
            bundles.known.clear()
        bundles.known[key] = found
        return found.verified
    except PeerIdentityError:
        raise
    # A parser that gives up in a way of its own (duplicate extensions, unknown curves, versions)
    # would otherwise end a server's handshake as an error that nobody catches.
    except Exception as error:
        raise _refused("its certificate cannot be read") from error


def _verified(
    leaf: x509.Certificate,
    above: Sequence[x509.Certificate],
    bundles: Bundles,
    now: datetime,
    role: Role,
) -> _Known:
    found = id_of(leaf)
    _check_leaf(leaf, role)
    trust = bundles.trust(found.trust_domain)
    if trust is None:
        raise _refused(f"there is no bundle of trust domain {found.trust_domain}")
    known = [*above, *trust.intermediates]
    if bundles.denied:
        if fingerprint(leaf) in bundles.denied:
            raise _refused("policy denies its certificate")
        known = [one for one in known if fingerprint(one) not in bundles.denied]
    if trust.store is None:
        raise _refused("policy denies every root of its trust domain")
    verifier = (
        PolicyBuilder()
        .store(trust.store)
        .time(now)
        .max_chain_depth(MAX_CHAIN)
        .extension_policies(ca_policy=_CA_POLICY, ee_policy=_LEAF_POLICY)
        .build_client_verifier()
    )
    try:
        path = verifier.verify(leaf, known).chain
    except Exception as error:  # as above, of an authority's certificate
        is_without = len(known) < len(above) + len(trust.intermediates)
        raise _refused(_why(leaf, now, error, is_without=is_without)) from error
    for certificate in path:
        for extension in certificate.extensions:
            if extension.critical and extension.oid not in _UNDERSTOOD:
                raise _refused("a certificate has a critical extension that nobody here knows")
    return _Known(
        Verified(found, min(one.not_valid_after_utc.timestamp() for one in path)),
        max(one.not_valid_before_utc.timestamp() for one in path),
    )


def _key(chain: Sequence[x509.Certificate], role: Role) -> bytes:
    """Return what a chain is remembered by: the digest of each certificate, in order."""
    digest = hashlib.sha256(role.encode())
    for certificate in chain:
        digest.update(certificate.fingerprint(_SHA256))
    return digest.digest()


def load_chain(chain: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """Read certificates.

    Args:
        chain: DER, the leaf first.

    Raises:
        PeerIdentityError: one cannot be read, or there are too many.
    """
    if len(chain) > MAX_CHAIN:
        raise _refused(f"it shows more than {MAX_CHAIN} certificates")
    try:
        return tuple(x509.load_der_x509_certificate(each) for each in chain)
    except Exception as error:  # ValueError, and others for versions and algorithms
        raise _refused("its certificate cannot be read") from error


def id_of(leaf: x509.Certificate) -> SpiffeID:
    """Return the one SPIFFE ID that a leaf bears; whether it is true is another question.

    Raises:
        PeerIdentityError: it bears none, several, or one that is none.
    """
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise _refused("its certificate has no subject alternative name") from None
    except Exception as error:
        raise _refused("its certificate cannot be read") from error
    uris = [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    if len(uris) != 1:
        raise _refused(f"its certificate has {len(uris)} URIs; a SPIFFE ID stands alone")
    try:
        return SpiffeID.parse(uris[0])
    except IdentityError as error:
        raise _refused(str(error)) from error


def _check_leaf(leaf: x509.Certificate, role: Role) -> None:
    extensions = leaf.extensions
    try:
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        if constraints.ca:
            raise _refused("its certificate is an authority's")
    except x509.ExtensionNotFound:
        pass  # as good as CA:FALSE
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        raise _refused("its certificate says nothing of what its key may do") from None
    if usage.key_cert_sign or usage.crl_sign:
        raise _refused("its key may sign certificates")
    if not usage.digital_signature:
        raise _refused("its key may not sign")
    try:
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if _PURPOSE[role] not in purposes:
            raise _refused(f"its certificate is not for a {role}")
    except x509.ExtensionNotFound:
        pass  # X509-SVID 4.4: it should be there, and where it is not nothing is excluded
    if not _is_strong(leaf):
        raise _refused("its key is weak; RSA with 2048 bits and P-256 are the least")


def _is_strong(certificate: x509.Certificate) -> bool:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= _LEAST_RSA_BITS
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES)


def _must_be_an_authority(
    _: Policy, __: x509.Certificate, constraints: x509.BasicConstraints
) -> None:
    if not constraints.ca:
        raise ValueError("a certificate on the path is no authority's")


def _must_sign_certificates(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("an authority's key may not sign certificates")


_CA_POLICY = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _must_be_an_authority)
    # RFC 5280 wants it on every authority; some roots out there have none.
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _must_sign_certificates)
)
# `_check_leaf` has looked already, with reasons that a person can use.
_LEAF_POLICY = ExtensionPolicy.permit_all().require_present(
    x509.SubjectAlternativeName, Criticality.AGNOSTIC, None
)


def _why(leaf: x509.Certificate, now: datetime, error: Exception, *, is_without: bool) -> str:
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if now > end:
        return f"its certificate ended at {end:%FT%TZ}; here it is {now:%FT%TZ}"
    if now < begin:
        return f"its certificate begins at {begin:%FT%TZ}; here it is {now:%FT%TZ}"
    if is_without:
        return "policy denies an authority that vouches for it, and no other path leads to a root"
    # The verifier's words may go on with an authority's name, which is the peer's own text.
    problem = str(error).partition(" (encountered")[0].partition(": AlgorithmIdentifier")[0]
    problem = problem.removeprefix("validation failed: ").removeprefix("candidates exhausted: ")
    if "unsupported name constraint" in problem:
        problem = "an authority has name constraints that are not carried out, such as on URIs"
    elif "with no interior errors" in problem:
        problem = "no authority has the name of its issuer"
    return f"no path leads to a root of its trust domain ({_plain(problem)})"


def _plain(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text[:200])


def _refused(reason: str) -> PeerIdentityError:
    return PeerIdentityError(1, f"the peer is refused: {reason}")
