"""Check the TLS that clients originate. Source: Istio, `validateTLS`.

Whether the files that policy names are there is not looked at here: they are the clients', and this
may be another machine. `files_named` tells which they are.
"""

from __future__ import annotations

from collections.abc import Iterator

from meshware.policy.codes import SUSPICIOUS
from meshware.policy.document.destination_rule import (
    ClientTLSSettings,
    DestinationRuleSpec,
    TrafficPolicy,
)
from meshware.policy.names import is_ip
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.grammar import bad_host
from meshware.policy.yaml12 import brief

__all__ = ["check_alt_names", "check_client_tls", "files_named"]

_FILES = {
    "caCertificates": "ca_certificates",
    "caCrl": "ca_crl",
    "clientCertificate": "client_certificate",
    "privateKey": "private_key",
}
_ORIGINATES = ("SIMPLE", "MUTUAL")
_OF_MUTUAL = ("clientCertificate", "privateKey")
_OF_MESH = ("subjectAltNames", "sni")  # what ISTIO_MUTUAL goes by as well


def check_client_tls(
    resource: Resource, path: str, tls: ClientTLSSettings | None, report: Report
) -> None:
    """Report what is missing, what contradicts itself, and what would have no effect."""
    if tls is None:
        return
    if tls.mode is None:
        report.warning(
            resource, path, "tls without a mode means DISABLE; write mode: DISABLE", SUSPICIOUS
        )
    if tls.mode in _ORIGINATES:
        _check_files(resource, path, tls, report)
        _check_names(resource, path, tls, report)
        _check_verifying(resource, path, tls, report)
        _check_certificate(resource, path, tls, report)
        return
    useless = [name for name, value in _written(tls) if value]
    if tls.mode == "ISTIO_MUTUAL":
        _check_names(resource, path, tls, report)
        useless = [name for name in useless if name not in _OF_MESH]
        if useless:
            words = " and ".join(useless)
            report.warning(
                resource,
                path,
                f"with mode ISTIO_MUTUAL identities of the mesh are shown and verified, so {words} "
                "changes nothing; remove it, or write mode: MUTUAL",
                SUSPICIOUS,
            )
        return
    if useless:
        words = " and ".join(useless)
        report.warning(
            resource,
            path,
            f"without TLS {words} changes nothing; write mode: SIMPLE or MUTUAL, or remove it",
            SUSPICIOUS,
        )


def _written(tls: ClientTLSSettings) -> Iterator[tuple[str, object]]:
    """Yield every setting besides the mode, by its name."""
    for name, attribute in _FILES.items():
        yield name, getattr(tls, attribute)
    yield "subjectAltNames", tls.subject_alt_names
    yield "sni", tls.sni
    yield "insecureSkipVerify", tls.insecure_skip_verify


def _check_files(resource: Resource, path: str, tls: ClientTLSSettings, report: Report) -> None:
    for name, attribute in _FILES.items():
        written = getattr(tls, attribute)
        if written is None:
            continue
        if not written or "\0" in written:
            report.error(resource, f"{path}.{name}", f"{name} names no file; write its path")
        elif not written.startswith("/"):
            report.warning(
                resource,
                f"{path}.{name}",
                f"{brief(written)!r} is looked for where each process was started; write a path "
                "from the root",
                SUSPICIOUS,
            )


def _check_names(resource: Resource, path: str, tls: ClientTLSSettings, report: Report) -> None:
    if tls.sni is not None:
        wrong = bad_host(tls.sni, may_be_pattern=False)
        if wrong is None and is_ip(tls.sni):
            wrong = "an address is no server name; write a host"
        if wrong is not None:
            report.error(resource, f"{path}.sni", f"sni is {brief(tls.sni)!r}; {wrong}")
    check_alt_names(resource, f"{path}.subjectAltNames", tls.subject_alt_names, report)


def check_alt_names(
    resource: Resource, path: str, names: tuple[str, ...] | None, report: Report
) -> None:
    """Report names that no certificate bears."""
    for index, name in enumerate(names or ()):
        if not name:
            report.error(
                resource,
                f"{path}[{index}]",
                "this is no name; write a DNS name, a URI or an IP address",
            )
        elif "*" in name:
            report.warning(
                resource,
                f"{path}[{index}]",
                f"{brief(name)!r} is compared letter by letter, so a certificate must bear the "
                "`*` itself; write the names that are meant",
                SUSPICIOUS,
            )


def _check_verifying(resource: Resource, path: str, tls: ClientTLSSettings, report: Report) -> None:
    if not tls.insecure_skip_verify:
        return
    useless = [
        name
        for name, value in (
            ("caCertificates", tls.ca_certificates),
            ("caCrl", tls.ca_crl),
            ("subjectAltNames", tls.subject_alt_names),
        )
        if value
    ]
    if useless:
        words = " and ".join(useless)
        report.error(
            resource,
            f"{path}.insecureSkipVerify",
            f"insecureSkipVerify and {words} are both set; remove insecureSkipVerify to verify "
            "servers",
        )
    else:
        report.warning(
            resource,
            f"{path}.insecureSkipVerify",
            "anybody who answers is taken for the server; write caCertificates in its place",
            SUSPICIOUS,
        )


def _check_certificate(
    resource: Resource, path: str, tls: ClientTLSSettings, report: Report
) -> None:
    given = [name for name in _OF_MUTUAL if getattr(tls, _FILES[name])]
    if tls.mode == "MUTUAL":
        for name in _OF_MUTUAL:
            if name not in given and getattr(tls, _FILES[name]) is None:
                report.error(
                    resource,
                    f"{path}.{name}",
                    f"mode MUTUAL needs {name}; add the path of its file, or write mode: SIMPLE",
                )
    elif given:
        words = " and ".join(given)
        report.warning(
            resource,
            f"{path}.{given[0]}",
            f"with mode SIMPLE no certificate is presented, so {words} changes nothing; write "
            "mode: MUTUAL, or remove it",
            SUSPICIOUS,
        )


def files_named(resource: Resource) -> Iterator[tuple[str, str]]:
    """Yield the files that a DestinationRule's clients read: field and path, in order."""
    spec = resource.spec
    if not isinstance(spec, DestinationRuleSpec):
        return
    yield from _files_of("spec.trafficPolicy", spec.traffic_policy)
    for index, subset in enumerate(spec.subsets or ()):
        yield from _files_of(f"spec.subsets[{index}].trafficPolicy", subset.traffic_policy)


def _files_of(path: str, policy: TrafficPolicy | None) -> Iterator[tuple[str, str]]:
    if policy is None:
        return
    settings = [(path, policy.tls)]
    for index, entry in enumerate(policy.port_level_settings or ()):
        settings.append((f"{path}.portLevelSettings[{index}]", entry.tls))
    for here, tls in settings:
        if tls is None or tls.mode not in _ORIGINATES:
            continue
        for name, attribute in _FILES.items():
            written = getattr(tls, attribute)
            if written and (tls.mode == "MUTUAL" or name not in _OF_MUTUAL):
                yield f"{here}.tls.{name}", written
