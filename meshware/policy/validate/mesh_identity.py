"""Check what the MeshConfig says of identities: trust domains, authorities, accounts, proxies."""

from __future__ import annotations

import re
from collections.abc import Sequence

from meshware.errors import IdentityError
from meshware.identity.spiffe import SpiffeID, is_trust_domain, workload_id
from meshware.policy.document.mesh_config import Identity, MeshConfigSpec, NodeIdentity
from meshware.policy.mesh_record import plain_fingerprint
from meshware.policy.parse import Resource
from meshware.policy.record_types import TRUST_DOMAIN
from meshware.policy.validate.common import Report
from meshware.policy.yaml12 import brief

__all__ = ["check_mesh_identity"]

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?")
_SHORTEST_LIFE_S, _SHORT_LIFE_S, _LONGEST_LIFE_S = 2.0, 300.0, 30 * 86400.0


def check_mesh_identity(resource: Resource, report: Report) -> None:
    """Report what is wrong with the identities of one MeshConfig."""
    spec = resource.spec
    if not isinstance(spec, MeshConfigSpec):
        return
    own = spec.trust_domain or TRUST_DOMAIN
    _check_aliases(resource, spec.trust_domain_aliases or (), own, report)
    _check_certificates(resource, spec, own, report)
    for index, written in enumerate(spec.xfcc_trusted_proxies or ()):
        try:
            SpiffeID.parse(written)
        except IdentityError as error:
            report.error(
                resource,
                f"spec.xfccTrustedProxies[{index}]",
                f"xfccTrustedProxies[{index}] is {brief(written)!r}: {error}; write the proxy's "
                "own, such as spiffe://cluster.local/ns/edge/sa/nginx",
            )
    if spec.identity is not None:
        _check_identity(resource, spec.identity, report)
    _check_nodes(resource, spec.node_identities or (), report)


def _check_aliases(resource: Resource, aliases: Sequence[str], own: str, report: Report) -> None:
    for index, alias in enumerate(aliases):
        here = f"spec.trustDomainAliases[{index}]"
        if not is_trust_domain(alias):
            report.error(
                resource,
                here,
                f"trustDomainAliases[{index}] is {brief(alias)!r}; write the name of a trust "
                "domain: a-z, 0-9, dots, hyphens and underscores",
            )
        elif alias == own or alias in aliases[:index]:
            report.warning(resource, here, f"{alias} is there already; remove it")


def _check_certificates(resource: Resource, spec: MeshConfigSpec, own: str, report: Report) -> None:
    # Here and not above: `check` of policy without certificates stays light.
    from meshware.identity.bundle import read_certificates

    for index, written in enumerate(spec.ca_certificates or ()):
        here = f"spec.caCertificates[{index}]"
        if not written.pem:
            report.error(resource, here, "there is no pem; add the roots of the other domain")
        else:
            try:
                read_certificates(written.pem, "pem")
            except IdentityError as error:
                report.error(resource, f"{here}.pem", f"{error}; write the roots as PEM")
            if "PRIVATE KEY" in written.pem:
                report.error(
                    resource,
                    f"{here}.pem",
                    "there is a private key in it, which everybody could read; take it out, and "
                    "make a new one",
                )
        if not written.trust_domains:
            report.error(
                resource,
                here,
                "there are no trustDomains; name the other domains whose roots these are (those "
                "of our own come from identity.provider)",
            )
        for at, domain in enumerate(written.trust_domains or ()):
            field = f"{here}.trustDomains[{at}]"
            if not is_trust_domain(domain):
                report.error(resource, field, f"{brief(domain)!r} is no name of a trust domain")
            elif domain == own:
                report.error(
                    resource,
                    field,
                    f"{own} is our own trust domain, whose roots come from identity.provider; "
                    "name others",
                )


def _check_identity(resource: Resource, identity: Identity, report: Report) -> None:
    for index, written in enumerate(identity.denied_authorities or ()):
        if not _FINGERPRINT.fullmatch(plain_fingerprint(written)):
            report.error(
                resource,
                f"spec.identity.deniedAuthorities[{index}]",
                f"deniedAuthorities[{index}] is {brief(written)!r}; write the SHA-256 fingerprint "
                "of a certificate, 64 digits of hex, as `meshware cert show` prints it",
            )
    life = identity.leaf_life
    if life is not None and not _SHORTEST_LIFE_S <= life <= _LONGEST_LIFE_S:
        report.error(
            resource, "spec.identity.leafLife", "leafLife is out of range; write 2s to 30 days"
        )
    elif life is not None and life < _SHORT_LIFE_S:
        report.warning(
            resource,
            "spec.identity.leafLife",
            "with a leafLife this short a daemon that is down for minutes stops the mesh; write "
            "at least 5m",
        )
    account = identity.daemon_service_account
    if account is not None:
        _check_account(resource, "spec.identity.daemonServiceAccount", account, report)


def _check_nodes(resource: Resource, nodes: Sequence[NodeIdentity], report: Report) -> None:
    accounts: set[str] = set()
    users: dict[str, str] = {}
    for index, node in enumerate(nodes):
        here = f"spec.nodeIdentities[{index}]"
        _check_account(resource, f"{here}.serviceAccount", node.service_account, report)
        if not _USER.fullmatch(node.user):
            report.error(
                resource, f"{here}.user", f"user is {brief(node.user)!r}; write a Unix user's name"
            )
        if node.service_account in accounts:
            report.error(
                resource,
                f"{here}.serviceAccount",
                f"{brief(node.service_account)} is there twice; remove one",
            )
        accounts.add(node.service_account)
        other = users.setdefault(node.user, node.service_account)
        if other != node.service_account:
            report.warning(
                resource,
                f"{here}.user",
                f"the workloads of {brief(other)} run as {brief(node.user)} too, so that each may "
                "read the key of the other; give each account a user of its own",
            )


def _check_account(resource: Resource, field: str, written: str, report: Report) -> None:
    namespace, slash, account = written.partition("/")
    try:
        if not slash:
            raise IdentityError("there is no slash")
        workload_id(TRUST_DOMAIN, namespace, account)
    except IdentityError:
        report.error(
            resource,
            field,
            f"{field.rpartition('.')[2]} is {brief(written)!r}; write namespace/service-account",
        )
