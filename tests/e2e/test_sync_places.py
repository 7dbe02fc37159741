"""What lies in the daemon's directories is lost or altered under its hands: it puts that right."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request

import pytest
from command_forge import forging
from sync_runs import SYNC, daemon, write
from sync_world import BROKEN, service

from meshware.policy.file import MAX_GENERATION, encode
from meshware.runtime.policy_file import open_policy_file, trusted_owners


@pytest.fixture
def place(tmp_path):
    """A directory with a source of one service."""
    (tmp_path / "mesh").mkdir()
    write(tmp_path / "mesh" / "shop.yaml", service("shop"))
    return tmp_path


@pytest.fixture
def forge(place):
    """A maker of daemons."""
    with forging(place) as made:
        yield made


def test_a_generation_goes_up_while_directories_are_deleted_beneath_it(place, forge):
    """Files that went missing are put back, under a later generation each time."""
    with daemon(forge) as made:
        seen = [made.generation()]
        for lost in ("run", "state", "run/policy.mesh", "run", "state"):
            path = place / lost
            if path.is_dir():
                # What the daemon puts back while this goes on may stay: that is the point.
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
            if lost == "state":  # the run directory still knows; an edit writes the state again
                address = f"10.1.0.{len(seen)}"
                write(place / "mesh" / "shop.yaml", service("shop", address))
                made.wait_for(lambda address=address: made.says(f'"{address}"'))
            made.wait_for(made.policy_file.exists)
            made.wait_for((place / "run" / "status.json").exists)
            made.wait_for(lambda: any((place / "state").glob("*/last.mesh")))
            seen.append(made.generation())
        assert seen == sorted(set(seen)), "each is later than the one before"
        ended = forge.run(*SYNC, "--once")
        assert ended.code == 2, "it still holds the lock of the directory that is there now"


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(b"nonsense"),
        lambda path: path.write_bytes(path.read_bytes()[:-10]),
        lambda path: path.chmod(0o666),
        lambda path: path.write_bytes(
            encode({"a": b"1"}, generation=1, trust_domain="cluster.local")
        ),
    ],
    ids=["overwritten", "cut short", "opened to all", "forged under the same number"],
)
def test_a_policy_file_that_was_altered_is_put_right(place, forge, harm):
    """Within a second or two, for no worker would take it, or should."""
    with daemon(forge) as made:
        harm(made.policy_file)
        made.wait_for(lambda: "published again as generation 2" in made.out())
        records = open_policy_file(made.policy_file, trusted_owners(None))
        assert records.header.generation == 2
        assert list(records.keys("svc/shop"))


def test_a_forged_last_number_is_said_and_not_a_traceback(place, forge):
    """It can be mended by whoever owns the directory, and by nobody else."""
    forge.run(*SYNC, "--once")
    shutil.rmtree(place / "state")
    data = encode({"a": b"1"}, generation=MAX_GENERATION, trust_domain="cluster.local")
    (place / "run" / "policy.mesh").write_bytes(data)
    ended = forge.run(*SYNC, "--once")
    assert ended.code == 2
    assert "no larger one can follow" in ended.err and len(ended.err.splitlines()) == 1


def get(url: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_it_tells_its_health_and_its_figures(place, forge):
    """503 until there is policy; refused sources are no illness."""
    write(place / "mesh" / "broken.yaml", BROKEN)
    with daemon(forge, "--listen", "127.0.0.1:0") as made:
        base = f"http://{made.status().listen}"
        assert get(f"{base}/healthz") == (503, '{"generation":null,"refused":true}')
        (place / "mesh" / "broken.yaml").unlink()
        made.wait_for(lambda: made.generation() == 1)
        made.wait_for(lambda: get(f"{base}/healthz")[0] == 200)
        assert get(f"{base}/healthz")[1] == '{"generation":1,"refused":false}'
        assert "meshware_sync_generation 1.0" in get(f"{base}/metrics")[1]
        assert get(f"{base}/nope")[0] == 404
