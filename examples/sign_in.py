"""Stand in for the shop's accounts: put a new key into the policy, and print a token of it.

    python sign_in.py policies/users.yaml jason "Jason of Pherae"

The key that signs is forgotten with the end of this program; what stays is its public half, in the
policy, and one token that is good for an hour.
"""

import base64
import json
import re
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER, AUDIENCE = "https://accounts.shop.example", "https://shop.example"


def main(policy: str, subject: str, name: str = "") -> None:
    """Change the policy, and print the token."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    kid = f"made-{time.time_ns()}"
    keys = {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64url(public)}]}
    path = Path(policy)
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"(?m)jwks: .*$", f"jwks: '{json.dumps(keys)}'", text), encoding="utf-8")

    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "name": name, "exp": now + 3600}
    signed = ".".join(
        base64url(json.dumps(part).encode()) for part in ({"alg": "EdDSA", "kid": kid}, claims)
    )
    sys.stdout.write(f"{signed}.{base64url(key.sign(signed.encode()))}\n")


def base64url(data: bytes) -> str:
    """Return data in base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


if __name__ == "__main__":
    main(*sys.argv[1:])
