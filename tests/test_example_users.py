"""The bookshop's accounts: the policy, the program that signs in, and the page that believes it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from werkzeug.test import Client

from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture
def policies(tmp_path) -> Path:
    """A copy of the policies, for sign_in.py to change."""
    found = tmp_path / "policies"
    shutil.copytree(EXAMPLES / "policies", found)
    return found


def sign_in(policies: Path, *arguments: str) -> str:
    """What a user does by hand."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / "sign_in.py", policies / "users.yaml", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


def page(policies: Path) -> Client:
    """The product page, in a mesh of these policies."""
    spec = importlib.util.spec_from_file_location("shop_page", EXAMPLES / "flask_app/app.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    mesh = TestMesh(policies, "default/productpage")
    return Client(MeshMiddleware(module.app.wsgi_app, mesh=mesh))


def test_an_account_is_shown_to_whom_it_belongs(policies):
    """By a key that nobody had before."""
    text = sign_in(policies, "jason", "Jason of Pherae")
    answer = page(policies).get("/account", headers={"Authorization": f"Bearer {text}"})
    assert answer.status_code == 200, answer.text
    assert answer.json == {
        "account": "jason",
        "name": "Jason of Pherae",
        "signed_in_as": "https://accounts.shop.example/jason",
    }


def test_without_a_token_or_with_a_former_one_there_is_none(policies):
    """An account wants somebody, and each sign-in brings another key."""
    former = sign_in(policies, "jason")
    sign_in(policies, "jason")
    client = page(policies)
    assert client.get("/account").status_code in (401, 403)
    answer = client.get("/account", headers={"Authorization": f"Bearer {former}"})
    assert (answer.status_code, answer.text) == (
        401,
        "Jwks doesn't have key to match kid or alg from Jwt",
    )
    answer = client.get("/account", headers={"Authorization": f"Bearer {former}x"})
    assert answer.text == "Jwt signature is an invalid Base64url encoded"  # as the README says
