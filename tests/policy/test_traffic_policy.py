"""Which level of a DestinationRule each setting is from, and what a port's entry takes back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshware.policy.document.destination_rule import DestinationRuleSpec
from meshware.policy.traffic_policy import SETTINGS, effective_policy

RANDOM, ROUND = {"simple": "RANDOM"}, {"simple": "ROUND_ROBIN"}
OUTLIER: dict[str, Any] = {"interval": 1.0}


def found(top: dict[str, Any] | None, subset: dict[str, Any] | None):
    """The settings of port 80 of a subset, with the level of each: top or subset, port, reset."""
    written = {
        "host": "a",
        "trafficPolicy": top,
        "subsets": [{"name": "s", "trafficPolicy": subset}],
    }
    rule = msgspec.convert(written, DestinationRuleSpec)
    assert rule.subsets is not None
    part = rule.subsets[0]
    effective = effective_policy(rule, part, 80)
    levels = {}
    for name in SETTINGS:
        level = effective.levels[name]
        if level.policy is not None:
            where = "top" if level.policy is rule.traffic_policy else "subset"
            levels[name] = (where, level.port_at, level.is_reset)
    return effective.policy, levels


def at_port(number: int = 80, **settings: Any) -> dict[str, Any]:
    """An entry of portLevelSettings."""
    return {"port": {"number": number}, **settings}


@pytest.mark.parametrize(
    ("top", "subset", "levels"),
    [
        (None, None, {}),
        ({"loadBalancer": RANDOM}, None, {"load_balancer": ("top", None, False)}),
        (
            {"loadBalancer": RANDOM, "outlierDetection": OUTLIER},
            {"loadBalancer": ROUND},
            {"load_balancer": ("subset", None, False), "outlier_detection": ("top", None, False)},
        ),
        (
            {"outlierDetection": OUTLIER, "portLevelSettings": [at_port(loadBalancer=RANDOM)]},
            None,
            {"load_balancer": ("top", 0, False), "outlier_detection": ("top", 0, True)},
        ),
        (
            {"outlierDetection": OUTLIER},
            {"portLevelSettings": [at_port(81), at_port(loadBalancer=RANDOM)]},
            {"load_balancer": ("subset", 1, False), "outlier_detection": ("subset", 1, True)},
        ),
        (
            {"outlierDetection": OUTLIER, "portLevelSettings": [at_port(81)]},
            None,
            {"outlier_detection": ("top", None, False)},
        ),
    ],
    ids=["nothing", "top", "field by field", "port", "port of a subset", "another port"],
)
def test_each_setting_names_its_level(top, subset, levels):
    """A subset replaces field by field; a port's entry everything, what it leaves out too."""
    assert found(top, subset)[1] == levels


LAYERS = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "loadBalancer": st.sampled_from([RANDOM, ROUND]),
        "outlierDetection": st.just(OUTLIER),
        "portLevelSettings": st.lists(
            st.fixed_dictionaries(
                {"port": st.sampled_from([{"number": 80}, {"number": 81}])},
                optional={"loadBalancer": st.sampled_from([RANDOM, ROUND])},
            ),
            max_size=2,
        ),
    },
)


@given(LAYERS, LAYERS)
def test_a_setting_is_in_force_exactly_when_a_level_says_it(top, subset):
    """And its value is the one that is written there."""
    policy, levels = found(top, subset)
    for name in SETTINGS:
        value = getattr(policy, name)
        assert (value is not None) is (name in levels and not levels[name][2])
