"""What `routes`, `functions` and `operationIds` ask, by table."""

from __future__ import annotations

import pytest

from meshware.policy.document.authorization_policy import MeshOperation, Operation
from meshware.policy.handler_matchers import asks_handlers, handler_test, meets
from meshware.policy.inbound_facts import Facts, Handler

SHOW = Handler(
    routes=("/users/<int:id>", "/users/{id}"),
    functions=("show", "shop.users.show"),
    operation_ids=("showUser",),
)
EDIT = Handler(routes=("/users/{id}",), functions=("edit", "shop.users.edit"))
UNSEEN = Handler(routes=("/a",), functions=("a",), operation_ids=None)


def holds(operation: MeshOperation, handlers, *, is_deny: bool, path: str | None = None) -> bool:
    """Ask about a request that these handlers may handle."""
    asked = []

    def handlers_of(app_path):
        asked.append(app_path)
        return handlers

    facts = Facts(
        method="GET",
        authority="app",
        headers=lambda name: (),
        source_ip=None,
        destination_ip=None,
        port=None,
        handlers_of=handlers_of,
        app_path=path,
    )
    found = handler_test(operation, is_deny=is_deny)(facts)
    assert asked == [path]  # once, about the path that the app will see
    return found


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"routes": ("/users/{id}",)}, True),
        ({"routes": ("/users/<int:id>",)}, True),
        ({"routes": ("/users/7",)}, False),
        ({"routes": ("/users/*",)}, True),
        ({"routes": ("*{id}",)}, True),
        ({"routes": ("*",)}, True),
        ({"routes": ("/USERS/{id}",)}, False),
        ({"routes": ("/a", "/users/{id}")}, True),
        ({"not_routes": ("/users/{id}",)}, False),
        ({"not_routes": ("/users/<int:id>",)}, False),
        ({"not_routes": ("/a",)}, True),
        ({"not_routes": ("*",)}, False),
        ({"functions": ("show",)}, True),
        ({"functions": ("shop.users.show",)}, True),
        ({"functions": ("users.show",)}, False),
        ({"functions": ("shop.*",)}, True),
        ({"functions": ("*.show",)}, True),
        ({"functions": ("edit",)}, False),
        ({"not_functions": ("show",)}, False),
        ({"not_functions": ("edit",)}, True),
        ({"operation_ids": ("showUser",)}, True),
        ({"operation_ids": ("show*",)}, True),
        ({"operation_ids": ("other",)}, False),
        ({"not_operation_ids": ("showUser",)}, False),
        ({"not_operation_ids": ("other",)}, True),
        ({"routes": ("/users/{id}",), "functions": ("show",)}, True),
        ({"routes": ("/users/{id}",), "functions": ("edit",)}, False),
        ({"routes": ("/users/*",), "not_routes": ("/users/{id}",)}, False),
        ({"routes": ("/users/*",), "not_functions": ("edit",)}, True),
    ],
    ids=str,
)
@pytest.mark.parametrize("is_deny", [True, False], ids=["deny", "allow"])
def test_every_field_that_is_set_must_meet_a_name_of_the_handler(operation, expected, is_deny):
    """Values are Istio's; a handler has several names, and each of them counts."""
    assert holds(MeshOperation(**operation), (SHOW,), is_deny=is_deny) is expected


@pytest.mark.parametrize("operation", [{"routes": ("/a",)}, {"not_routes": ("/a",)}], ids=str)
def test_what_is_not_known_is_denied_and_not_allowed(operation):
    """In both polarities: a router that cannot be asked opens no door."""
    assert holds(MeshOperation(**operation), None, is_deny=True)
    assert not holds(MeshOperation(**operation), None, is_deny=False)


@pytest.mark.parametrize("is_deny", [True, False], ids=["deny", "allow"])
def test_where_nothing_handles_the_request_only_the_twins_hold(is_deny):
    """404 and 405 have no route."""
    assert not holds(MeshOperation(routes=("*",)), (), is_deny=is_deny)
    assert holds(MeshOperation(not_routes=("/a",)), (), is_deny=is_deny)
    assert not holds(MeshOperation(functions=("*",), not_routes=("/a",)), (), is_deny=is_deny)


@pytest.mark.parametrize(
    ("operation", "denied", "allowed"),
    [
        ({"functions": ("show",)}, True, False),
        ({"not_functions": ("show",)}, True, False),
        ({"routes": ("/users/{id}",)}, True, True),
        ({"not_routes": ("/users/{id}",)}, False, False),
        ({"functions": ("show", "edit")}, True, True),
        ({"routes": ("/users/<int:id>",), "functions": ("edit",)}, True, False),
    ],
    ids=str,
)
def test_of_several_handlers_one_denies_and_all_allow(operation, denied, allowed):
    """An entry is asked as a whole of each of them."""
    assert holds(MeshOperation(**operation), (SHOW, EDIT), is_deny=True) is denied
    assert holds(MeshOperation(**operation), (SHOW, EDIT), is_deny=False) is allowed


@pytest.mark.parametrize(
    ("operation", "denied", "allowed"),
    [
        ({"operation_ids": ("x",)}, True, False),
        ({"not_operation_ids": ("x",)}, True, False),
        ({"operation_ids": ("x",), "functions": ("b",)}, False, False),
        ({"functions": ("a",)}, True, True),
    ],
    ids=str,
)
def test_an_id_that_may_be_there_unseen_is_not_known(operation, denied, allowed):
    """A framework without OpenAPI of its own may have IDs in places that nobody looks into."""
    assert holds(MeshOperation(**operation), (UNSEEN,), is_deny=True) is denied
    assert holds(MeshOperation(**operation), (UNSEEN,), is_deny=False) is allowed


def test_the_router_is_asked_about_the_path_that_the_app_sees():
    """Where MeshConfig normalises, that is another than the one received."""
    assert holds(MeshOperation(routes=("*",)), (SHOW,), is_deny=False, path="/users/7")


def test_only_fields_of_handlers_ask():
    """An operation of Istio's costs nothing of all this."""
    assert not asks_handlers(None)
    assert not asks_handlers(Operation(paths=("/a",)))
    assert not asks_handlers(MeshOperation(paths=("/a",), not_paths=("/b",)))
    assert asks_handlers(MeshOperation(not_operation_ids=("a",)))


@pytest.mark.parametrize(
    "value",
    ["/secret/{pk}/", "secret/{pk}/", "/secret/<int:pk>/", "secret/<int:pk>/", "/secret/{pk:int}/"],
)
@pytest.mark.parametrize("routes", [("secret/<int:pk>/", "/secret/{pk}/"), ("/secret/{pk}/",)])
def test_a_route_may_be_written_as_any_framework_does(value, routes):
    """A DENY rule that means nothing by its spelling would leave a door open."""
    of_one = meets(MeshOperation(routes=(value,)), is_deny=True)
    assert of_one(Handler(routes=routes)) is True
    assert of_one(Handler(routes=("/other/{pk}/",))) is False


@pytest.mark.parametrize("value", ["/a", "/in/a", "/x/in/a", "*a", "/x*", "*/in/a", "*", "/in/b"])
@pytest.mark.parametrize("front", ["", "/in", "/x/in"])
def test_where_mounts_are_not_known_no_prefix_proves_the_answer_wrong(value, front):
    """Whatever is in front, a certain answer is the one that the whole route would have had."""
    whole, unknown = Handler(routes=(f"{front}/a",)), Handler(tails=("/a",))
    for is_deny in (False, True):
        for operation in (MeshOperation(routes=(value,)), MeshOperation(not_routes=(value,))):
            of_one = meets(operation, is_deny=is_deny)
            assert of_one(unknown) in (None, of_one(whole))


@pytest.mark.parametrize(
    ("fields", "is_deny", "expected"),
    [
        ({"routes": ("/in/a",)}, True, True),
        ({"routes": ("/in/a",)}, False, True),
        ({"routes": ("/a",)}, True, True),
        ({"routes": ("/a",)}, False, False),
        ({"not_routes": ("/in/a",)}, True, False),
        ({"not_routes": ("/in/a",)}, False, False),
        ({"not_routes": ("/a",)}, True, True),
        ({"not_routes": ("/a",)}, False, False),
        ({"not_routes": ("/b",)}, False, True),
        ({"routes": ("/a",), "not_routes": ("/in/a",)}, True, False),
    ],
)
def test_a_route_that_may_be_meant_by_two_names_harms_neither_way(fields, is_deny, expected):
    """What refuses holds for both, what allows for the whole one, unless it is left out by one."""
    handler = Handler(routes=("/in/a",), besides=("/a",))
    assert meets(MeshOperation(**fields), is_deny=is_deny)(handler) is expected
