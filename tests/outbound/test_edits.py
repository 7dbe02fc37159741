"""What routes change in requests and responses: headers, path, Host."""

from __future__ import annotations

import json

import pytest
from outbound_world import World, answered

from meshware.call import Deliver, Reply, Send
from meshware.policy.edits import parse_value


def changing(rule: dict) -> str:
    """A VirtualService for `orders` with one rule, to `orders` unless it says otherwise."""
    if "directResponse" not in rule:
        rule = {"route": [{"destination": {"host": "orders"}}], **rule}
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: orders}}
spec:
  hosts: [orders]
  http:
    - {json.dumps(rule)}
"""


def sent(rule: dict, target: str = "/", headers: dict[str, str] | None = None, **more) -> Send:
    """The first attempt of a call under a rule."""
    send = next(World(changing(rule), **more).exchange(target=target, headers=headers))
    assert isinstance(send, Send)
    return send


def to(*headers: dict, weights: tuple[int, ...] = ()) -> dict:
    """Destinations with header operations of their own."""
    entries = [{"destination": {"host": "orders"}, "headers": each} for each in headers]
    for entry, weight in zip(entries, weights, strict=False):
        entry["weight"] = weight
    return {"route": entries}


# --- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "drop", "append"),
    [
        ({"set": {"X-A": "1"}}, {"x-a"}, [("x-a", "1")]),
        ({"add": {"X-A": "1"}}, set(), [("x-a", "1")]),
        ({"remove": ["X-A"]}, {"x-a"}, []),
        ({"set": {"a": "1"}, "add": {"a": "2"}}, {"a"}, [("a", "1"), ("a", "2")]),
        ({"remove": ["a"], "add": {"a": "2"}}, {"a"}, [("a", "2")]),
        ({"add": {"b": "2", "a": "1"}}, set(), [("a", "1"), ("b", "2")]),
        ({"remove": ["Host"], "add": {"a": "1"}}, set(), [("a", "1")]),
    ],
    ids=str,
)
def test_operations_of_one_level(request_, drop, append):
    """What is removed goes first, what is set replaces, what is added comes behind."""
    send = sent({"headers": {"request": request_}})
    assert (send.edit.drop, list(send.edit.append)) == (drop, append)


def test_a_single_destinations_operations_come_behind_its_routes():
    """Istio puts both into the route, the destination's last."""
    level = {"request": {"set": {"a": "route"}, "add": {"b": "route"}}}
    own = {"request": {"set": {"a": "own"}, "add": {"b": "own"}}}
    send = sent({"headers": level, **to(own)})
    assert send.edit.append == (("a", "own"), ("b", "route"), ("b", "own"))


def test_a_weighted_destinations_operations_come_before_its_routes():
    """Envoy goes from the most specific to the least, so that the route's win."""
    level = {"request": {"set": {"a": "route"}, "add": {"b": "route"}}}
    own = {"request": {"set": {"a": "own"}, "add": {"b": "own"}}}
    send = sent({"headers": level, **to(own, {}, weights=(99, 1))}, rng=[0.1])
    assert send.edit.append == (("a", "route"), ("b", "own"), ("b", "route"))


def test_each_weighted_destination_has_its_own():
    """The operations of the one that was drawn, and of no other."""
    rule = to({"request": {"set": {"v": "1"}}}, {"request": {"set": {"v": "2"}}}, weights=(50, 50))
    assert sent(rule, rng=[0.4]).edit.append == (("v", "1"),)
    assert sent(rule, rng=[0.6]).edit.append == (("v", "2"),)


def test_what_policy_removes_of_what_the_mesh_carries_stays_removed():
    """And what it sets is not set over."""
    send = sent({"headers": {"request": {"remove": ["x-request-id"]}}})
    assert [name for name, _ in send.headers] == ["x-envoy-attempt-count"]


def test_values_may_name_headers_of_the_request():
    """As Envoy's `%REQ(name?other)%`; `%%` is a percent sign."""
    values = {"a": "<%REQ(x-user)%>", "b": "%REQ(none?x-user)%", "c": "100%%", "d": "%REQ(:path)%"}
    send = sent({"headers": {"request": {"set": values}}}, "/p?q", {"x-user": "jo"})
    assert dict(send.edit.append) == {"a": "<jo>", "b": "jo", "c": "100%", "d": "/p?q"}


def test_a_value_that_is_empty_changes_nothing():
    """Envoy sets and adds only what there is; the header stays as the app wrote it."""
    level = {"set": {"a": "", "b": "%REQ(none)%", "c": "1"}, "add": {"d": "", "e": "%REQ(none)%"}}
    send = sent({"headers": {"request": level}}, headers={"b": "old"})
    assert (send.edit.drop, send.edit.append) == ({"c"}, (("c", "1"),))


def test_values_are_read_behind_what_a_level_removes_and_before_what_it_writes():
    """Source: Envoy, `HeaderParser.evaluateHeaders`."""
    level = {"remove": ["b"], "set": {"a": "%REQ(b)%", "c": "%REQ(d)%", "d": "new"}}
    send = sent({"headers": {"request": level}}, headers={"b": "1", "d": "2"})
    assert send.edit.append == (("c", "2"), ("d", "new"))


def test_a_single_destination_removes_before_its_route_sets():
    """They are one list to Envoy."""
    send = sent({"headers": {"request": {"set": {"a": "1"}}}, **to({"request": {"remove": ["a"]}})})
    assert send.edit.append == (("a", "1"),)


def test_a_weighted_destinations_values_are_its_routes_to_read():
    """The route's operations come behind, on what the destination's made of the request."""
    level = {"request": {"set": {"b": "%REQ(a)%"}}}
    rule = {"headers": level, **to({"request": {"set": {"a": "own"}}}, {}, weights=(1, 99))}
    assert dict(sent(rule, headers={"a": "old"}, rng=[0.0]).edit.append) == {"a": "own", "b": "own"}


def test_operations_on_the_response_read_the_request_as_it_went_out():
    """With what policy changed in its headers, path and Host."""
    level = {
        "request": {"set": {"a": "new"}},
        "response": {"set": {"x": "%REQ(a)% %REQ(:path)% %REQ(host)% %REQ(y)%"}},
    }
    rule = {"headers": level, "rewrite": {"uri": "/r/", "authority": "other.example"}}
    flow = World(changing(rule)).exchange(target="/p", headers={"a": "old", "y": "kept"})
    next(flow)
    delivered = flow.send(answered(200))
    assert delivered.edit.append == (("x", "new /r/p other.example kept"),)


def test_a_changed_host_is_told():
    """As Envoy tells it, like the path."""
    send = sent({"rewrite": {"authority": "other.example"}})
    assert ("x-envoy-original-host", "orders") in send.headers


@pytest.mark.parametrize("text", ["50%", "%START_TIME%", "%REQ(a b)%", "%REQ(a", "a%%%b"])
def test_another_command_is_none(text):
    """It would go out as it stands, or empty."""
    with pytest.raises(ValueError):
        parse_value(text)


def test_responses_are_changed_before_the_caller_sees_them():
    """The driver carries it out on the answer that it delivers."""
    own = {"response": {"set": {"x-version": "1"}, "remove": ["Server"]}}
    flow = World(changing(to(own))).exchange()
    next(flow)
    deliver = flow.send(answered(200))
    assert isinstance(deliver, Deliver)
    assert (deliver.edit.drop, deliver.edit.append) == (
        {"x-version", "server"},
        (("x-version", "1"),),
    )


def test_an_answer_of_our_own_is_changed_too():
    """So that a direct response may have a type of its own."""
    rule = {
        "directResponse": {"status": 200, "body": {"string": "{}"}},
        "headers": {"response": {"set": {"content-type": "application/json"}}},
    }
    reply = next(World(changing(rule)).exchange())
    assert isinstance(reply, Reply)
    assert reply.headers == (("content-type", "application/json"),)


def test_no_operations_cost_nothing():
    """Most routes have none."""
    send = sent({})
    assert (send.edit, send.target) == (None, None)


# --- path and Host --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "rewrite", "target", "expected"),
    [
        ({"prefix": "/api/"}, "/", "/api/x?q=1", "/x?q=1"),
        ({"prefix": "/api"}, "/", "/api/x", "//x"),
        ({"prefix": "/api"}, "/v2", "/api/x", "/v2/x"),
        ({"prefix": "/api"}, "/v2", "/apis", "/v2s"),
        ({"exact": "/old"}, "/new", "/old?q", "/new?q"),
        ({"regex": "/o.*"}, "/new", "/old/x", "/new"),
        (None, "/new/", "/old", "/new/old"),
        (None, "/new", "/old", "/newold"),
    ],
)
def test_a_path_is_rewritten_as_it_was_matched(uri, rewrite, target, expected):
    """A prefix by its letters, anything else whole; the query stays. Without a match it is `/`."""
    rule = {"rewrite": {"uri": rewrite}}
    if uri is not None:
        rule["match"] = [{"uri": uri}]
    send = sent(rule, target)
    assert send.target == expected
    assert dict(send.headers)["x-envoy-original-path"] == target


def test_case_does_not_change_how_much_is_rewritten():
    """The prefix counts by its length."""
    rule = {
        "match": [{"uri": {"prefix": "/api/"}, "ignoreUriCase": True}],
        "rewrite": {"uri": "/"},
    }
    assert sent(rule, "/API/x").target == "/x"


@pytest.mark.parametrize(
    ("rule", "host"),
    [
        ({"rewrite": {"authority": "a.test"}}, "a.test"),
        ({"headers": {"request": {"set": {"Host": "a.test"}}}}, "a.test"),
        ({"headers": {"request": {"add": {":authority": "a.test"}}}}, "a.test"),
        (
            {"headers": {"request": {"add": {"host": "b.test"}, "set": {"host": "a.test"}}}},
            "a.test",
        ),
        (
            {
                "rewrite": {"authority": "a.test"},
                "headers": {"request": {"set": {"host": "b.test"}}},
            },
            "a.test",
        ),
        (to({"request": {"set": {"host": "a.test"}}}), "a.test"),
        ({}, None),
    ],
    ids=str,
)
def test_the_host_is_rewritten(rule, host):
    """`rewrite.authority` before what is set, and that before what is added."""
    send = sent(rule)
    assert dict(send.headers).get("host") == host
    assert send.edit is None
