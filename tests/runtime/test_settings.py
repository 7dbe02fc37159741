"""The environment: read once, and what cannot be read is said in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshware.errors import SettingsError
from meshware.runtime.settings import Settings, workload_client


def test_a_config_alone_is_enough():
    """A process that only calls others needs nothing else; it is in namespace `default`."""
    settings = Settings.from_env({"MESH_CONFIG": "run/policy.mesh"})
    assert settings.config == Path("run/policy.mesh")
    assert settings.run_dir == Path("run")
    assert (settings.client.namespace, settings.client.name) == ("default", None)
    assert (settings.address, settings.port, settings.policy_owner) == (None, None, None)


def test_everything_can_be_said():
    """Each variable of the contract, once."""
    settings = Settings.from_env(
        {
            "MESH_CONFIG": "/etc/mesh/policy.mesh",
            "MESH_WORKLOAD": "shop/web",
            "MESH_RUN_DIR": "/run/mesh",
            "MESH_ADDRESS": "2001:DB8::1",
            "MESH_PORT": "8000",
            "MESH_POLICY_OWNER": "mesh",
        }
    )
    assert settings.run_dir == Path("/run/mesh")
    assert (settings.client.namespace, settings.client.name) == ("shop", "web")
    assert (settings.address, settings.port) == ("2001:db8::1", 8000)
    assert settings.policy_owner == "mesh"


def test_a_bare_workload_is_in_the_namespace_default():
    """`MESH_WORKLOAD=web` means `default/web`."""
    client = workload_client("web")
    assert (client.namespace, client.name) == ("default", "web")


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({}, "MESH_CONFIG is not set"),
        ({"MESH_CONFIG": ""}, "MESH_CONFIG is not set"),
        ({"MESH_CONFIG": "x", "MESH_WORKLOAD": "a/b/c"}, "MESH_WORKLOAD is 'a/b/c'"),
        ({"MESH_CONFIG": "x", "MESH_WORKLOAD": "/b"}, "MESH_WORKLOAD is '/b'"),
        ({"MESH_CONFIG": "x", "MESH_WORKLOAD": "shop/"}, "MESH_WORKLOAD is 'shop/'"),
        ({"MESH_CONFIG": "x", "MESH_WORKLOAD": "../x"}, "MESH_WORKLOAD is '../x'"),
        ({"MESH_CONFIG": "x", "MESH_WORKLOAD": "Shop/web"}, "in lower case"),
        ({"MESH_CONFIG": "x", "MESH_PORT": "0"}, "MESH_PORT is '0'"),
        ({"MESH_CONFIG": "x", "MESH_PORT": "65536"}, "write a port from 1 to 65535"),
        ({"MESH_CONFIG": "x", "MESH_PORT": "٨"}, "MESH_PORT"),
        ({"MESH_CONFIG": "x", "MESH_ADDRESS": "web.local"}, "write the IP address"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_read_is_one_sentence(environ, complaint):
    """It names the variable, what it is, and what to write."""
    with pytest.raises(SettingsError, match=complaint) as raised:
        Settings.from_env(environ)
    assert "\n" not in str(raised.value)
