"""TLS towards outside services: ClientTLSSettings as a transport socket.

What identities of the mesh do (ISTIO_MUTUAL, and mTLS where policy says nothing) is in `identity`.
"""

from __future__ import annotations

from meshware.envoy.values import Json, Say, any_of
from meshware.policy.document.destination_rule import ClientTLSSettings

__all__ = ["transport_socket"]

_CONTEXT = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


def transport_socket(
    written: ClientTLSSettings | None, ca_file: str, origin: str, say: Say
) -> tuple[Json | None, Json]:
    """Return the transport socket (None: plain text), and what it asks of the protocol options.

    Args:
        written: the policy's.
        ca_file: the roots to trust where policy names none.
        origin: the resource to name in a warning.
        say: takes warnings.
    """
    if written is None or written.mode in (None, "DISABLE", "ISTIO_MUTUAL"):
        return None, {}
    if written.credential_name:
        say(origin, "credentialName means a secret that Envoy would be sent; name files instead")
    common: Json = {}
    if written.mode == "MUTUAL" and written.client_certificate and written.private_key:
        common["tls_certificates"] = [
            {
                "certificate_chain": {"filename": written.client_certificate},
                "private_key": {"filename": written.private_key},
            }
        ]
    if not written.insecure_skip_verify:
        validation: Json = {"trusted_ca": {"filename": written.ca_certificates or ca_file}}
        if written.ca_crl:
            validation["crl"] = {"filename": written.ca_crl}
        if written.subject_alt_names:
            validation["match_typed_subject_alt_names"] = [
                {"san_type": kind, "matcher": {"exact": name}}
                for name in written.subject_alt_names
                for kind in _kinds(name)
            ]
        common["validation_context"] = validation
    context: Json = {"common_tls_context": common}
    upstream: Json = {}
    if written.sni:
        context["sni"] = written.sni
    else:
        upstream["auto_sni"] = True
    if not written.subject_alt_names and not written.insecure_skip_verify:
        upstream["auto_san_validation"] = True
    socket = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": any_of(_CONTEXT, **context),
    }
    return socket, {"upstream_http_protocol_options": upstream} if upstream else {}


def _kinds(name: str) -> tuple[str, ...]:
    return ("URI",) if "://" in name else ("DNS", "IP_ADDRESS")
