"""When an SVID is renewed: half of its life is left, and not all of them are due at once."""

from __future__ import annotations

import pytest
from ca_world import NOW, TRUST_DOMAIN, authority

from meshware.identity.rotation import renew_at
from meshware.identity.spiffe import workload_id

WEB = workload_id(TRUST_DOMAIN, "default", "web")


@pytest.mark.parametrize("life_s", [4.0, 3600.0, 86400.0])
def test_it_is_due_at_half_of_its_life_or_a_little_earlier(tmp_path, life_s):
    """Whoever renews may be away for half of a life, whatever the draw was."""
    issuer = authority(tmp_path)
    due = [renew_at(issuer.issue(WEB, NOW, life_s), life_s) - NOW.timestamp() for _ in range(50)]
    assert max(due) <= life_s * 0.5
    assert min(due) >= life_s * 0.45
    assert len({round(at, 3) for at in due}) > 25  # a crowd is spread


def test_the_draw_is_the_same_at_each_look(tmp_path):
    """Who looks again, or starts again, does not draw again."""
    svid = authority(tmp_path).issue(WEB, NOW, 3600.0)
    assert renew_at(svid, 3600.0) == renew_at(type(svid).from_pem(svid.pem), 3600.0)


def test_what_outlives_a_shorter_life_is_due_at_once(tmp_path):
    """An operator who shortens lives does not wait for the long ones."""
    svid = authority(tmp_path).issue(WEB, NOW, 3600.0)
    assert renew_at(svid, 600.0) == 0.0
    assert renew_at(svid, 7200.0) > NOW.timestamp()
