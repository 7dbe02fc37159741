"""Read the environment once, and say clearly what is wrong with it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meshware.errors import SettingsError
from meshware.policy.view import Client
from meshware.runtime.dns_lookup import Server, parse_servers

__all__ = ["Settings", "workload_client"]

# RFC 1123 labels, as Kubernetes asks of namespaces and names.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says about this process."""

    config: Path  # the policy file, or a YAML file or directory
    client: Client
    run_dir: Path
    address: str | None  # where this process is reached
    port: int | None
    policy_owner: str | None  # user name or id that may own the policy file besides root and us
    dns_servers: tuple[Server, ...] = ()  # in place of the system's, for policy without a daemon

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read MESH_CONFIG, MESH_WORKLOAD, MESH_RUN_DIR and their fellows.

        Raises:
            SettingsError: one is missing or cannot be read; the message names it and the remedy.
        """
        written = environ.get("MESH_CONFIG", "")
        if not written:
            raise SettingsError(
                "MESH_CONFIG is not set; set it to the policy file that `meshware sync` writes "
                "(run/policy.mesh), or to a YAML file or directory"
            )
        config = Path(written)
        run_dir = environ.get("MESH_RUN_DIR", "")
        return cls(
            config=config,
            client=workload_client(environ.get("MESH_WORKLOAD", "")),
            run_dir=Path(run_dir) if run_dir else config.parent,
            address=_address(environ.get("MESH_ADDRESS", "")),
            port=_port(environ.get("MESH_PORT", "")),
            policy_owner=environ.get("MESH_POLICY_OWNER") or None,
            dns_servers=parse_servers(environ.get("MESH_DNS", ""), "MESH_DNS"),
        )


def workload_client(written: str, source: str = "MESH_WORKLOAD") -> Client:
    """Return the workload that a text names: `namespace/name`, or a bare name.

    Args:
        written: the text; empty for none.
        source: where it was written, for the message.

    Raises:
        SettingsError: it is not a name.
    """
    if not written:
        return Client()
    namespace, slash, name = written.partition("/")
    if not slash:
        namespace, name = "default", written
    if not _NAME.fullmatch(namespace) or not _NAME.fullmatch(name):
        raise SettingsError(
            f"{source} is {written!r}; write namespace/name of a WorkloadEntry or "
            "WorkloadGroup, in lower case (a bare name means default/name)"
        )
    return Client(namespace=namespace, name=name)


def _address(written: str) -> str | None:
    if not written:
        return None
    try:
        return str(ipaddress.ip_address(written))
    except ValueError:
        raise SettingsError(
            f"MESH_ADDRESS is {written!r}; write the IP address at which this process is reached"
        ) from None


def _port(written: str) -> int | None:
    if not written:
        return None
    is_number = written.isascii() and written.isdigit() and len(written) <= 5
    if not is_number or not 1 <= int(written) <= 65535:
        raise SettingsError(f"MESH_PORT is {written[:80]!r}; write a port from 1 to 65535")
    return int(written)
