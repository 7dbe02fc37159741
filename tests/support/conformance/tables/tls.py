"""DestinationRule `tls`: SIMPLE, towards a server whose certificate is for `api.example`."""

from __future__ import annotations

from conformance.cases import SERVICE, V1, case, get

BEHIND_TLS = SERVICE.replace("$a", "$tls")
ONCE = f"- {{{V1}, retries: {{attempts: 0}}}}"
NAMED = f"- {{{V1}, retries: {{attempts: 0}}, rewrite: {{authority: api.example}}}}"
REASON = ("transport-failure-reason",)


def _tls(name, fields, http=ONCE, service=BEHIND_TLS, pool="{tcp: {connectTimeout: 10s}}", **more):
    rule = f"trafficPolicy: {{tls: {{{fields}}}, connectionPool: {pool}}}"
    return case(f"tls-{name}", http, get("/x"), rule=rule, service=service, **more)


CASES = [
    _tls(
        "names",
        "mode: SIMPLE, caCertificates: $ca, sni: api.example, subjectAltNames: [api.example]",
    ),
    _tls("sni-only", "mode: SIMPLE, caCertificates: $ca, sni: api.example", http=NAMED),
    _tls("names-only", "mode: SIMPLE, caCertificates: $ca, subjectAltNames: [api.example]"),
    _tls(
        "one-of-the-names",
        "mode: SIMPLE, caCertificates: $ca, subjectAltNames: [other.example, api.example]",
    ),
    _tls("of-the-host", "mode: SIMPLE, caCertificates: $ca", http=NAMED),
    _tls("unverified", "mode: SIMPLE, insecureSkipVerify: true"),
    _tls(
        "another-name",
        "mode: SIMPLE, caCertificates: $ca, subjectAltNames: [other.example]",
        differs=REASON,
    ),
    _tls("another-host", "mode: SIMPLE, caCertificates: $ca", differs=REASON),
    _tls(
        "another-authority", "mode: SIMPLE, caCertificates: $other_ca", http=NAMED, differs=REASON
    ),
    _tls(
        "to-plain-text",
        "mode: SIMPLE, insecureSkipVerify: true",
        service=SERVICE,
        pool="{tcp: {connectTimeout: 1s}}",
    ),
    _tls("from-plain-text", "mode: DISABLE"),
]
