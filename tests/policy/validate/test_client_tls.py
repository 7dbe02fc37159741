"""TLS of clients as written: what is missing, contradicts itself or has no effect."""

from __future__ import annotations

import pytest
from policy_check import problems, resource, service

from meshware.policy.load import load_text
from meshware.policy.parse import parse_text
from meshware.policy.validate.client_tls import files_named

PREFIX = "spec.trafficPolicy.tls"
FILES = {"clientCertificate": "/tls/cert.pem", "privateKey": "/tls/key.pem"}


def found(**tls) -> list[tuple[str, str, str]]:
    """Severity, field below tls, and message."""
    spec = {"host": "reviews", "trafficPolicy": {"tls": tls}}
    told = problems(service(), resource("DestinationRule", spec))
    return [(str(p.severity), p.field.removeprefix(PREFIX).lstrip("."), p.message) for p in told]


@pytest.mark.parametrize(
    "tls",
    [
        {"mode": "SIMPLE"},
        {"mode": "SIMPLE", "caCertificates": "/tls/ca.pem", "caCrl": "/tls/crl.pem"},
        {"mode": "SIMPLE", "sni": "pay.example.com", "subjectAltNames": ["spiffe://a/b", "x"]},
        {"mode": "MUTUAL", **FILES},
        {"mode": "MUTUAL", "insecureSkipVerify": False, "caCertificates": "/ca", **FILES},
    ],
    ids=str,
)
def test_what_makes_sense_is_taken(tls):
    """Without a word."""
    assert found(**tls) == []


@pytest.mark.parametrize(
    ("tls", "field", "words"),
    [
        ({"mode": "MUTUAL", "privateKey": "/k"}, "clientCertificate", "add the path"),
        ({"mode": "MUTUAL", "clientCertificate": "/c"}, "privateKey", "add the path"),
        ({"mode": "MUTUAL", **FILES, "privateKey": ""}, "privateKey", "names no file"),
        ({"mode": "SIMPLE", "caCertificates": ""}, "caCertificates", "names no file"),
        ({"mode": "SIMPLE", "sni": ""}, "sni", "write a host"),
        ({"mode": "SIMPLE", "sni": "*.example.com"}, "sni", "write one host"),
        ({"mode": "SIMPLE", "sni": "10.0.0.1"}, "sni", "no server name"),
        ({"mode": "SIMPLE", "subjectAltNames": [""]}, "subjectAltNames[0]", "no name"),
        (
            {"mode": "SIMPLE", "insecureSkipVerify": True, "caCertificates": "/ca"},
            "insecureSkipVerify",
            "and caCertificates are both set",
        ),
        (
            {"mode": "SIMPLE", "insecureSkipVerify": True, "caCrl": "/c", "subjectAltNames": ["a"]},
            "insecureSkipVerify",
            "and caCrl and subjectAltNames are both set",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_meant_so_is_refused(tls, field, words):
    """Istio, validateTLS; with a remedy."""
    [(severity, where, message)] = found(**tls)
    assert (severity, where) == ("error", field)
    assert words in message


@pytest.mark.parametrize(
    ("tls", "field", "words"),
    [
        ({}, "", "write mode: DISABLE"),
        ({"mode": "DISABLE", "sni": "a.example"}, "", "without TLS sni changes nothing"),
        ({"mode": "SIMPLE", **FILES}, "clientCertificate", "no certificate is presented"),
        ({"mode": "SIMPLE", "caCertificates": "ca.pem"}, "caCertificates", "from the root"),
        ({"mode": "SIMPLE", "subjectAltNames": ["*.a.b"]}, "subjectAltNames[0]", "by letter"),
        ({"mode": "SIMPLE", "insecureSkipVerify": True}, "insecureSkipVerify", "anybody"),
    ],
    ids=str,
)
def test_what_is_most_likely_a_mistake_is_told(tls, field, words):
    """And taken."""
    [(severity, where, message)] = found(**tls)
    assert (severity, where) == ("warning", field)
    assert words in message


@pytest.mark.parametrize(
    ("tls", "code", "field"),
    [
        ({"mode": "SIMPLE", "credentialName": "secret"}, "not-applicable", "credentialName"),
    ],
    ids=str,
)
def test_what_is_not_carried_out_is_refused(tls, code, field):
    """Nothing is ignored in silence."""
    text = service() + resource(
        "DestinationRule", {"host": "reviews", "trafficPolicy": {"tls": tls}}
    )
    [problem] = load_text(text).problems
    assert (str(problem.severity), problem.code) == ("error", code)
    assert problem.field == f"{PREFIX}.{field}"


def test_names_of_a_service_are_checked_alike():
    """ServiceEntry.subjectAltNames."""
    [problem] = problems(service(subjectAltNames=["a", ""]))
    assert problem.field == "spec.subjectAltNames[1]"


def test_every_file_is_named_once_where_it_is_written():
    """Those that nobody reads are not."""
    simple = {"mode": "SIMPLE", "caCertificates": "/ca", **FILES}
    spec = {
        "host": "reviews",
        "trafficPolicy": {
            "tls": {"mode": "DISABLE", "caCertificates": "/no"},
            "portLevelSettings": [{"port": {"number": 9080}, "tls": simple}],
        },
        "subsets": [{"name": "v1", "trafficPolicy": {"tls": {"mode": "MUTUAL", **FILES}}}],
    }
    [it], _ = parse_text(resource("DestinationRule", spec), "mesh.yaml")
    assert list(files_named(it)) == [
        ("spec.trafficPolicy.portLevelSettings[0].tls.caCertificates", "/ca"),
        ("spec.subsets[0].trafficPolicy.tls.clientCertificate", "/tls/cert.pem"),
        ("spec.subsets[0].trafficPolicy.tls.privateKey", "/tls/key.pem"),
    ]
