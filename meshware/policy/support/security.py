"""The fields of Istio's security kinds, and of our AuthorizationPolicy."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from meshware.policy.support.status import Support, differs, done, never

__all__ = ["SECURITY"]

_OUR_POLICIES = "AuthorizationPolicy (meshware.dev)"
_POLICIES = "AuthorizationPolicy"
_HANDLERS = (
    "of FastAPI, Starlette, Flask and Django; what their routers do not say is matched by DENY and "
    "not by ALLOW"
)
_NO_GATEWAY = "a policy with a target is for gateways and waypoints; write `selector`"
_WHOLE_USER = (
    "where a subject has a slash, the whole text of the principal is refused too: by DENY, and by "
    "`not` of ALLOW"
)
_REMOTE = (
    "with numTrustedProxies that many entries of X-Forwarded-For from the right; without, the "
    "connection's peer, where Istio's sidecar takes the last entry; an unknown address is matched "
    "by DENY and not by ALLOW"
)
_JWT = "RequestAuthentication.spec.jwtRules[]"


_OF_ISTIO: Mapping[str, Support] = MappingProxyType(
    {
        "PeerAuthentication.spec": done(),
        "PeerAuthentication.spec.mtls.mode": differs(
            "STRICT: a server that cannot close a plaintext connection answers 403"
        ),
        "RequestAuthentication.spec": done(),
        "RequestAuthentication.spec.jwtRules[].jwksUri": differs(
            "https unless the MeshConfig names the host; fetched each 20 min, and again after an "
            "unknown `kid`, at most once in 30 s; keys are dropped after 7 days of failures"
        ),
        "RequestAuthentication.spec.jwtRules[].timeout": done("60 s at the most"),
        "RequestAuthentication.spec.targetRef": never(_NO_GATEWAY),
        "RequestAuthentication.spec.targetRefs": never(_NO_GATEWAY),
        "RequestAuthentication.spec.jwtRules": differs(
            "every token at a place where a rule looks must be good, also where another rule has "
            "found a good one, and one rule must believe all of its own; `exp` is required; HMAC, "
            "header parameters such as `jku`, `x5c` and `crit`, a member that is there twice, and "
            "more than 16 KiB are refused"
        ),
        f"{_JWT}.audiences": differs(
            "compared as written; Envoy takes away `https://` and a slash at the end"
        ),
        f"{_JWT}.jwks": differs(
            "what cannot be read, or holds a symmetric or private key, refuses the policy; Istio "
            "takes it, and lets every token fail. A key that cannot verify is passed over with a "
            "warning"
        ),
        f"{_JWT}.fromHeaders": differs(
            "two tokens at one place are refused, as is the prefix in another case or further "
            "behind"
        ),
        f"{_JWT}.fromParams": done("a token stays in the query, as with older Envoys"),
        f"{_JWT}.fromCookies": done("a token stays in the cookie, as with Envoy"),
        f"{_JWT}.forwardOriginalToken": done("a header with a token is removed, unless it is true"),
        f"{_JWT}.outputPayloadToHeader": done(
            "removed from what callers send, also where no token comes"
        ),
        f"{_JWT}.outputClaimToHeaders": done(
            "texts, numbers and truth values; removed from what callers send, also where no token "
            "comes"
        ),
        "AuthorizationPolicy.spec": done(
            "a value that is none is refused at load; Istio leaves out an ALLOW rule that has one, "
            "and of a DENY rule the value alone. `istio.io/dry-run` is for ALLOW and DENY"
        ),
        "AuthorizationPolicy.spec.action": done(),
        "AuthorizationPolicy.spec.provider": differs(
            "one that MeshConfig does not have is refused at load; several may be asked about one "
            "request, one after the other, by the oldest policy of each"
        ),
        "AuthorizationPolicy.spec.targetRef": never(_NO_GATEWAY),
        "AuthorizationPolicy.spec.targetRefs": never(_NO_GATEWAY),
        "AuthorizationPolicy.spec.rules[].from[].source": done(),
        "AuthorizationPolicy.spec.rules[].from[].source.serviceAccounts": done(
            "of any trust domain that policy believes, as are namespaces"
        ),
        **{
            f"AuthorizationPolicy.spec.rules[].from[].source.{name}": differs(_WHOLE_USER)
            for name in ("requestPrincipals", "notRequestPrincipals")
        },
        **{
            f"AuthorizationPolicy.spec.rules[].from[].source.{name}": differs(_REMOTE)
            for name in ("remoteIpBlocks", "notRemoteIpBlocks")
        },
        "AuthorizationPolicy.spec.rules[].from[].source.ipBlocks": done(
            "an unknown address is matched by DENY and not by ALLOW"
        ),
        "AuthorizationPolicy.spec.rules[].from[].source.notIpBlocks": done(
            "an unknown address is matched by DENY and not by ALLOW"
        ),
        "AuthorizationPolicy.spec.rules[].to[].operation.hosts": differs(
            "without case, port and trailing dot, unless the value has a port itself"
        ),
        "AuthorizationPolicy.spec.rules[].to[].operation.paths": differs(
            "DENY matches any candidate path, ALLOW needs all of them"
        ),
        "AuthorizationPolicy.spec.rules[].when": differs(
            "every key but Envoy's own (`experimental.envoy.filters`) and pseudo-headers; each "
            "value of a repeated header counts; an SNI that a server keeps to itself is matched by "
            "DENY and not by ALLOW; request.auth.principal and remote.ip as in `source`"
        ),
    }
)


def _of_ours() -> dict[str, Support]:
    """Return the table of our AuthorizationPolicy: it has what Istio's has, and more."""
    shared = {
        path.replace(_POLICIES, _OUR_POLICIES, 1): found
        for path, found in _OF_ISTIO.items()
        if path.startswith(f"{_POLICIES}.")
    }
    notes = {
        "routes": _HANDLERS,
        "functions": _HANDLERS,
        "operationIds": f"{_HANDLERS}; of Flask and Django from docstrings alone",
    }
    operation = f"{_OUR_POLICIES}.spec.rules[].to[].operation"
    more = {
        f"{operation}.{field}": done(note)
        for name, note in notes.items()
        for field in (name, f"not{name[0].upper()}{name[1:]}")
    }
    return {**shared, **more}


SECURITY: Mapping[str, Support] = MappingProxyType({**_OF_ISTIO, **_of_ours()})
"""Field path -> status."""
