"""Who is told of which calls, and what the failure of one costs the others."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import pytest

from meshware.call import Flag
from meshware.events import InboundEvent, OutboundEvent
from meshware.inbound.shadow import NO_MARKS, Marks
from meshware.runtime.refusals import _is_marked
from meshware.telemetry.call_record import is_inbound_trouble, is_outbound_trouble
from meshware.telemetry.fan import Fan

INBOUND = [
    InboundEvent(
        SimpleNamespace(is_refused=is_refused, exception=exception, marks=marks),
        status,
        flag,
        0.1,
    )
    for is_refused, exception, marks, status, flag in product(
        [False, True],
        [None, "ValueError"],
        [NO_MARKS, Marks(("ns/audit",)), Marks(shadow="allow"), Marks(shadow="deny")],
        [0, 101, 200, 404, 499, 500, 503, 599],
        [None, *Flag],
    )
]
OUTBOUND = [
    OutboundEvent(
        method="GET", service="a:80", cluster="", status=status, flags=flags, attempts=1,
        endpoint=None, route=None, generation=1, complete=True, duration_s=0.1,
    )
    for status, flags in product([0, 200, 404, 500, 503], ["-", *Flag, "UF,URX", "DI,FI"])
]  # fmt: skip


def test_no_call_that_something_is_said_of_is_ordinary():
    """Else whoever looks for trouble would not be told of it."""
    for event in INBOUND:
        if event.is_ordinary:
            assert not is_inbound_trouble(event)
            assert not _is_marked(event)
    for event in OUTBOUND:
        assert not (event.is_ordinary and is_outbound_trouble(event))


def test_most_calls_are_ordinary():
    """An app's own 404 is its business."""
    assert [(each.status, each.flag) for each in INBOUND if each.is_ordinary] == [
        (status, None) for status in (101, 200, 404, 499)
    ]
    assert {each.status for each in OUTBOUND if each.is_ordinary} == {200, 404}


@pytest.mark.parametrize("event", [INBOUND[0], OUTBOUND[0]])
def test_what_fails_in_one_is_the_loss_of_that_one(event):
    told, errors = [], []

    def fail(_):
        raise ZeroDivisionError

    fan = Fan((fail, told.append), (fail, told.append), errors.append)
    fan(event)
    assert told == [event, event]
    assert fan.failures == len(errors) == 2
