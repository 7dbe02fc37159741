"""The table of `hostile_chains`: what is wrong with each chain, and what the refusal says."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import ObjectIdentifier
from hostile_chains import (
    CA_USAGE,
    HOUR,
    ID,
    NOT_CA,
    Made,
    Signed,
    add,
    authority,
    believing,
    ours,
    partner,
    root,
    rsa_key,
    sign,
    uri,
    usage,
    with_bad_signature,
    with_old_digest,
)

URI = x509.UniformResourceIdentifier(ID)
NO_PATH = "no path leads to a root"
NOT_CARRIED_OUT = "name constraints that are not"
UNREADABLE = "cannot be read"
STRANGE = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


def leaf(reason: str | None, name: str, *roles: str, **rest: Any) -> None:
    """Add a leaf of our root."""
    add(name, reason, lambda: ([sign(root(), **rest)], ours()), *roles)


def through(
    reason: str | None, name: str, *, below: dict[str, Any] | None = None, **rest: Any
) -> None:
    """Add a leaf below an intermediate."""

    def make() -> Made:
        middle = authority(root(), "middle", **rest)
        return [sign(middle, **(below or {})), middle], ours()

    add(name, reason, make)


# --- time -----------------------------------------------------------------------------------------
leaf("ended at", "leaf-expired", begins=-2 * HOUR, ends=-HOUR)
leaf("begins at", "leaf-not-yet", begins=HOUR, ends=2 * HOUR)
through(NO_PATH, "intermediate-expired", begins=-2 * HOUR, ends=-HOUR)
through(NO_PATH, "intermediate-not-yet", begins=HOUR, ends=2 * HOUR)


def _by_root(**rest: Any) -> Made:
    other = authority(**rest)
    return [sign(other)], believing(other)


add("root-expired", NO_PATH, lambda: _by_root(begins=-3 * HOUR, ends=-HOUR))
add("root-not-yet", NO_PATH, lambda: _by_root(begins=HOUR, ends=3 * HOUR))

# --- who vouches ----------------------------------------------------------------------------------
add("foreign-root", NO_PATH, lambda: ([sign(authority())], ours()))
add("foreign-root-shown", NO_PATH, lambda: ([sign(o := authority()), o], ours()))
add("partner-signs-our-id", NO_PATH, lambda: ([sign(partner())], ours()))
add(
    "partners-intermediate-signs-our-id",
    NO_PATH,
    lambda: ([sign(m := authority(partner(), "m")), m], ours()),
)
leaf("no bundle of trust domain", "unknown-domain", names=[uri("spiffe://elsewhere.org/a")])
leaf(NO_PATH, "we-sign-a-partners-id", names=[uri("spiffe://partner.example/a")])
add("self-signed", NO_PATH, lambda: ([sign(None, subject="me")], ours()))
add("self-signed-in-roots-name", NO_PATH, lambda: ([sign(None, subject="root")], ours()))
add("leaf-signed-by-leaf", NO_PATH, lambda: ([sign(m := sign(root(), subject="m")), m], ours()))
add("root-itself", "no subject alternative name", lambda: ([root()], ours()))
add("no-root-in-bundle", "no bundle", lambda: ([sign(root())], believing()))
add("removed-after-rotation", NO_PATH, lambda: ([sign(root())], believing(authority())))
add(
    "intermediate-of-bundle-is-no-root",
    NO_PATH,
    lambda: ([sign(m := authority(authority(), "m"))], ours(intermediates=[m])),
)
add("no-chain", "shows no certificate", lambda: ([], ours()))

# --- names ----------------------------------------------------------------------------------------
leaf("no subject alternative name", "no-san", names=None, subject="a")
leaf("0 URIs", "dns-only", names=[x509.DNSName("cluster.local")])
leaf("0 URIs", "dns-with-an-id-in-it", names=[x509.DNSName._init_without_validation(ID)])
leaf("0 URIs", "email-with-an-id-in-it", names=[x509.RFC822Name._init_without_validation(ID)])
leaf("0 URIs", "ip-only", names=[x509.IPAddress(ip_address("10.0.0.1"))])
leaf(
    "0 URIs",
    "other-name-with-an-id-in-it",
    names=[x509.OtherName(ObjectIdentifier("1.2.3.4"), b"\x0c" + bytes([len(ID)]) + ID.encode())],
)
leaf("no subject alternative name", "id-in-common-name", names=None, subject=ID)
leaf("2 URIs", "two-ids", names=[URI, uri(ID + "2")])
leaf("2 URIs", "same-id-twice", names=[URI, URI])
leaf("2 URIs", "id-and-web-address", names=[URI, uri("https://example.org/")])
leaf("2 URIs", "web-address-and-id", names=[uri("https://example.org/"), URI])
for _name, _text in {
    "scheme-https": ID.replace("spiffe", "https"),
    "scheme-upper": ID.replace("spiffe", "SPIFFE"),
    "scheme-mixed": ID.replace("spiffe", "Spiffe"),
    "no-scheme": ID.removeprefix("spiffe:"),
    "scheme-one-slash": ID.replace("//", "/", 1),
    "scheme-three-slashes": ID.replace("//", "///", 1),
    "space-before": " " + ID,
    "space-after": ID + " ",
    "newline-after": ID + "\n",
    "nul-in-path": ID + "\0.evil",
    "nul-in-domain": ID.replace("local", "local\0.evil"),
    "nul-after": ID + "\0",
    "percent-encoded": ID.replace("caller", "c%61ller"),
    "percent-slash": ID.replace("/sa/", "%2fsa/"),
    "user": ID.replace("//", "//user@"),
    "user-and-password": ID.replace("//", "//user:pass@"),
    "port": ID.replace("local/", "local:443/"),
    "query": ID + "?a=b",
    "fragment": ID + "#a",
    "no-path": "spiffe://cluster.local",
    "root-path": "spiffe://cluster.local/",
    "no-domain": "spiffe:///ns/default/sa/caller",
    "dot": ID.replace("/sa/", "/./sa/"),
    "dot-dot": ID.replace("/sa/", "/../sa/"),
    "slash-after": ID + "/",
    "two-slashes": ID.replace("/sa/", "//sa/"),
    "too-long": ID + "a" * 2048,
    "domain-too-long": ID.replace("cluster.local", "a" * 256),
    "domain-upper": ID.replace("cluster", "Cluster"),
    "domain-punycode-dot": ID.replace("cluster.local", "xn--80ak6aa92e.local."),
    "comma": ID + ",spiffe://cluster.local/b",
    "semicolon": ID + ";a",
    "backslash": ID.replace("/sa/", "\\sa\\"),
    "tilde": ID + "~",
    "plus": ID + "+a",
    "empty": "",
    "ipv6-domain": ID.replace("cluster.local", "[::1]"),
}.items():
    _reason = "no bundle of" if _name == "domain-punycode-dot" else "no SPIFFE ID"
    leaf(_reason, f"uri-{_name}", names=[uri(_text)])

# --- what the leaf is for -------------------------------------------------------------------------
leaf("an authority's", "leaf-ca", basic=x509.BasicConstraints(ca=True, path_length=None))
leaf("may sign certificates", "leaf-cert-sign", usage=usage("digital_signature", "key_cert_sign"))
leaf("may sign certificates", "leaf-crl-sign", usage=usage("digital_signature", "crl_sign"))
leaf("may not sign", "leaf-encipherment-only", usage=usage("key_encipherment"))
leaf("says nothing", "leaf-without-usage", usage=None)
leaf("not for a client", "leaf-server-only", "client", purposes=[Eku.SERVER_AUTH])
leaf("not for a server", "leaf-client-only", "server", purposes=[Eku.CLIENT_AUTH])
leaf("not for a", "leaf-code-signing", purposes=[Eku.CODE_SIGNING])
leaf("not for a", "leaf-any-purpose", purposes=[Eku.ANY_EXTENDED_KEY_USAGE])
leaf(
    "not for a",
    "leaf-any-purpose-and-email",
    purposes=[Eku.ANY_EXTENDED_KEY_USAGE, Eku.EMAIL_PROTECTION],
)
leaf("critical|no path", "leaf-unknown-critical", extra=[(STRANGE, True)])
leaf(UNREADABLE, "leaf-two-sans", extra=[(x509.SubjectAlternativeName([URI]), False)])
leaf(UNREADABLE, "leaf-two-usages", extra=[(usage("digital_signature"), True)])
leaf(UNREADABLE, "leaf-two-basic-constraints", extra=[(NOT_CA, True)])

# --- authorities ----------------------------------------------------------------------------------
through(NO_PATH, "intermediate-no-ca", basic=NOT_CA)
through(NO_PATH, "intermediate-without-constraints", basic=None)
through(NO_PATH, "intermediate-may-not-sign", usage=usage("digital_signature"))
through("critical|no path", "intermediate-unknown-critical", extra=[(STRANGE, True)])
through(f"{NO_PATH}|{UNREADABLE}", "intermediate-two-usages", extra=[(CA_USAGE, True)])


def _below_path_length() -> Made:
    top = authority(root(), "top", path=0)
    middle = authority(top, "middle")
    return [sign(middle), middle, top], ours()


add("path-length-exceeded", NO_PATH, _below_path_length)


def _below_roots_path_length() -> Made:
    short = authority(path=0)
    middle = authority(short, "middle")
    return [sign(middle), middle], believing(short)


add("roots-path-length-exceeded", NO_PATH, _below_roots_path_length)


def _tower(height: int) -> Made:
    tower = [authority(root(), "1")]
    for nth in range(2, height):
        tower.insert(0, authority(tower[0], str(nth)))
    return [sign(tower[0]), *tower], ours()


add("twenty-certificates", "more than 8", lambda: _tower(20))
add("twenty-times-the-leaf", "more than 8", lambda: ([sign(root())] * 20, ours()))


def _loop() -> Made:
    one, other = authority(subject="one"), authority(subject="other")
    first = authority(other, "one", key=one.key)
    second = authority(first, "other", key=other.key)
    return [sign(first), first, second, first, second], ours()


add("loop", NO_PATH, _loop)


def _denied(which: int) -> Made:
    middle = authority(root(), "middle")
    shown = [sign(middle), middle]
    return shown, ours(denied=[[*shown, root()][which]])


add("denied-leaf", "policy denies its", lambda: _denied(0))
add("denied-intermediate", "policy denies an authority", lambda: _denied(1))
add("denied-root", "policy denies every root", lambda: _denied(2))

# --- name constraints -----------------------------------------------------------------------------


def _constrained(permitted: list[Any] | None, excluded: list[Any] | None) -> dict[str, Any]:
    return {"extra": [(x509.NameConstraints(permitted, excluded), True)]}


_URI_AND_DNS = {"names": [URI, x509.DNSName("web.example.org")]}
through(
    "name constraints that are not",
    "constraint-uri-excluded",
    **_constrained(None, [uri("cluster.local")]),
)
through(
    "name constraints that are not",
    "constraint-uri-elsewhere",
    **_constrained([uri("elsewhere.org")], None),
)
through(
    "name constraints that are not",
    "constraint-uri-permitted",
    **_constrained([uri("cluster.local")], None),
)
through(
    NO_PATH,
    "constraint-dns-excluded",
    below=_URI_AND_DNS,
    **_constrained(None, [x509.DNSName("example.org")]),
)
through(
    NO_PATH,
    "constraint-dns-elsewhere",
    below=_URI_AND_DNS,
    **_constrained([x509.DNSName("example.com")], None),
)

# --- keys and signatures --------------------------------------------------------------------------
leaf("key is weak", "rsa-1024", key=rsa_key(1024))
leaf("key is weak", "p-224", key=ec.generate_private_key(ec.SECP224R1()))
leaf("key is weak", "p-192", key=ec.generate_private_key(ec.SECP192R1()))
leaf("key is weak", "secp256k1", key=ec.generate_private_key(ec.SECP256K1()))
leaf("key is weak", "ed25519", key=ed25519.Ed25519PrivateKey.generate())
through(NO_PATH, "intermediate-rsa-1024", key=rsa_key(1024))
through(NO_PATH, "intermediate-secp256k1", key=ec.generate_private_key(ec.SECP256K1()))
through(NO_PATH, "intermediate-ed25519", key=ed25519.Ed25519PrivateKey.generate())


def _old(digest: hashes.HashAlgorithm) -> Made:
    old = authority(key=rsa_key())
    return [with_old_digest(sign(old), old, digest)], believing(old)


add("sha-1", NO_PATH, lambda: _old(hashes.SHA1()))
add("md5", NO_PATH, lambda: _old(hashes.MD5()))
add("bad-signature", NO_PATH, lambda: ([with_bad_signature(sign(root()))], ours()))


def _bad_above() -> Made:
    middle = with_bad_signature(authority(root(), "middle"))
    return [sign(middle), middle], ours()


add("bad-signature-above", NO_PATH, _bad_above)
leaf(NO_PATH, "issuer-name-differs", issuer_name="another")


def _other_key() -> Signed:
    return Signed(root().certificate, ec.generate_private_key(ec.SECP256R1()))


add("roots-name-another-key", NO_PATH, lambda: ([sign(_other_key())], ours()))
add("roots-name-another-key-no-ids", NO_PATH, lambda: ([sign(_other_key(), has_ids=False)], ours()))

# --- good ones ------------------------------------------------------------------------------------
leaf(None, "good-leaf")
through(None, "good-intermediate")
leaf(None, "good-with-subject", subject="a")
leaf(None, "good-no-purposes", purposes=None)
leaf(None, "good-dns-beside", names=[URI, x509.DNSName("caller.default.svc")])
leaf(None, "good-go-like", basic=None, has_ids=False, subject="caller")
leaf(None, "good-p384", key=ec.generate_private_key(ec.SECP384R1()))
leaf(
    None,
    "good-rsa",
    key=rsa_key(2048, 1),
    usage=usage("digital_signature", "key_encipherment"),
)
leaf(None, "good-unknown-not-critical", extra=[(STRANGE, False)])


def _alone() -> Made:
    middle = authority(root(), "middle")
    return [sign(middle)], ours(intermediates=[middle])


add("good-leaf-alone", None, _alone)
add("good-two-intermediates", None, lambda: _tower(3))
add("good-root-shown", None, lambda: ([sign(root()), root()], ours()))
add("good-both-roots", None, lambda: ([sign(root())], believing(authority(subject="new"), root())))


def _cross_signed() -> Made:
    new = authority(subject="new root")
    crossed = authority(root(), "new root", key=new.key)
    return [sign(new), crossed], ours()


add("good-cross-signed", None, _cross_signed)


def _around_denied() -> Made:
    key = ec.generate_private_key(ec.SECP256R1())
    old, new = authority(root(), "middle", key=key), authority(root(), "middle", key=key)
    return [sign(new), old, new], ours(denied=[old])


add("good-around-a-denied-one", None, _around_denied)


def _istio_like() -> Made:
    top = authority(subject="istio", key=rsa_key())
    rsa_usage = usage("digital_signature", "key_encipherment")
    return [sign(top, key=rsa_key(2048, 1), usage=rsa_usage)], believing(top)


add("good-istio-like", None, _istio_like)


def _spire_like() -> Made:
    organisation = x509.SubjectAlternativeName([uri("spiffe://cluster.local")])
    top = authority(subject="spire", extra=[(organisation, False)])
    more = usage("digital_signature", "key_encipherment", "key_agreement")
    return [sign(top, usage=more, subject="SPIRE")], believing(top)


add("good-spire-like", None, _spire_like)
add("good-plain-root", None, lambda: _by_root(usage=None, has_ids=False))
add("good-root-of-one-name", None, lambda: ([sign(root())], believing(authority(), root())))
