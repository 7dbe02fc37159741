"""Token files go when policy takes none, and nothing else does or comes."""

from __future__ import annotations

import os

import pytest
from ca_world import NOW, TRUST_DOMAIN, mode_of, plan

from meshware.ca.token_files import TokenFiles, remove_tokens
from meshware.ca.tokens import TokenAuthority


@pytest.fixture
def run(tmp_path):
    """A run directory that is reached by a link."""
    (tmp_path / "there").mkdir()
    (tmp_path / "run").symlink_to("there")
    return tmp_path / "run"


def tree(place):
    return {str(path.relative_to(place)): mode_of(path) for path in place.rglob("*")}


def test_tokens_are_removed_and_nothing_else_is_touched(run, tmp_path):
    """Not a mode, not a directory of what somebody else put there."""
    (tmp_path / "ca").mkdir()
    authority = TokenAuthority(tmp_path / "ca", TRUST_DOMAIN, NOW.timestamp())
    TokenFiles(run).keep(plan("web", "mail"), authority, NOW.timestamp(), lambda: True)
    web = run / "identity" / "default" / "web"
    (web / "svid.pem").write_text("of somebody else")
    (run / "identity" / "other").mkdir(mode=0o750)
    (run / "identity" / "link").symlink_to(web)
    before = tree(run / "identity")
    assert {name for name in before if name.endswith("token.json")} == {
        "default/web/token.json", "default/mail/token.json",
    }  # fmt: skip
    remove_tokens(run)
    gone = set(before) - set(tree(run / "identity"))
    assert gone == {"default/web/token.json", "default/mail/token.json"}
    assert tree(run / "identity").items() <= before.items()


def test_where_nothing_is_nothing_is_made(run):
    remove_tokens(run)
    remove_tokens(run / "nowhere")
    assert os.listdir(run) == []
