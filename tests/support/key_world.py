"""Policy about end users whose keys a server of a test serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from key_server import KeyServer

from meshware.policy.jwks_records import jwks_key
from meshware.policy.record_types import JwksRecord
from meshware.runtime.policy_file import open_policy_file, trusted_owners


def users(*uris: str, name: str = "users", **rule: Any) -> str:
    """A RequestAuthentication with a rule for each address."""
    rules = [{"issuer": f"issuer of {uri}", "jwksUri": uri, **rule} for uri in uris]
    return f"""---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: {name}}}
spec: {json.dumps({"jwtRules": rules})}
"""


def fetching(server: KeyServer | None = None, *hosts: str, **more: Any) -> str:
    """A MeshConfig that allows what a test needs: `localhost`, and the server's authority."""
    spec: dict[str, Any] = {"allowedInternalHosts": list(hosts or ("localhost",)), **more}
    if server is not None and server.scheme == "https":
        spec["caFile"] = str(server.ca_file)
    return f"""---
apiVersion: meshware.dev/v1alpha1
kind: MeshConfig
metadata: {{name: mesh, namespace: istio-system}}
spec: {json.dumps({"jwks": spec})}
"""


def published_ids(policy_file: Path, uri: str) -> list[str] | None:
    """The ids of the keys of an address in a policy file, as workers read it; None: it has none."""
    try:
        data = open_policy_file(policy_file, trusted_owners(None)).get(jwks_key(uri))
    except FileNotFoundError:
        return None
    return ids_in(data)


def ids_in(data: bytes | None) -> list[str] | None:
    """The ids of the keys in a record."""
    keys = None if data is None else msgspec.json.decode(data, type=JwksRecord).keys
    return None if keys is None else [key["kid"] for key in json.loads(keys)["keys"]]
