"""By which names policy may call a handler."""

from __future__ import annotations

import functools

import pytest
from flask.views import MethodView
from starlette.endpoints import HTTPEndpoint

from meshware.handlers.django import plain_template
from meshware.handlers.names import documented_id, function_names, template_names

HERE = __name__


def show():
    """Show it."""


class Things(HTTPEndpoint):
    """A class-based endpoint of Starlette's."""

    def get(self):
        """Show things.

        ---
        operationId: showThings
        """

    def method(self):
        """No endpoint by itself."""


class Views(MethodView):
    """A class-based view of Flask's."""


class Callable:
    """An endpoint that is an object."""

    def __call__(self):
        """Run."""


def made_by(view_class):
    """A view function as Django REST framework makes it."""

    def view():
        """Run."""

    view.cls = view_class
    return view


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("/users/{id}", ("/users/{id}",)),
        ("/users/{id:int}", ("/users/{id:int}", "/users/{id}")),
        ("/f/{rest:path}", ("/f/{rest:path}", "/f/{rest}")),
        ("/users/<id>", ("/users/<id>", "/users/{id}")),
        ("/users/<int:id>/x", ("/users/<int:id>/x", "/users/{id}/x")),
        ("/u/<any(a, 'b:c'):kind>", ("/u/<any(a, 'b:c'):kind>", "/u/{kind}")),
        ("/a/<int(min=1):x>-<y>", ("/a/<int(min=1):x>-<y>", "/a/{x}-{y}")),
        ("/plain", ("/plain",)),
    ],
)
def test_a_route_is_written_as_its_framework_does_or_with_plain_braces(written, names):
    """Both, whatever the framework."""
    assert template_names(written) == names


@pytest.mark.parametrize(
    ("route", "template"),
    [
        ("users/<int:pk>/", "users/{pk}/"),
        ("^users/(?P<pk>[0-9]+)/$", "users/{pk}/"),
        ("api/^users/(?P<pk>[0-9]+)$", "api/users/{pk}"),
        (r"^a\.b/(?P<x>(a|b)[)]{2})/\Z", "a.b/{x}/"),
        ("<slug:s>/^x/(?P<y>.*)$", "{s}/x/{y}"),
        (r"^x/(\d+)/$", None),
        ("^x|y$", None),
        (r"^\w+$", None),
        ("^(?P<x>abc", None),
    ],
)
def test_a_regular_expression_has_a_template_where_all_but_its_groups_is_text(route, template):
    """What is more than that is called as Django calls it, and in no other way."""
    assert plain_template(route) == template


@pytest.mark.parametrize(
    ("endpoint", "names"),
    [
        (show, ("show", f"{HERE}.show")),
        (functools.partial(functools.partial(show)), ("show", f"{HERE}.show")),
        (Things, ("Things", f"{HERE}.Things")),
        (Things.method, ("method", f"{HERE}.Things.method")),
        (Callable(), ("Callable", f"{HERE}.Callable")),
        (Callable().__call__, ("__call__", f"{HERE}.Callable.__call__")),
        (Views.as_view("views"), ("Views", f"{HERE}.Views")),
        (made_by(Views), ("Views", f"{HERE}.Views")),
        (print, ("print", "builtins.print")),
    ],
    ids=[
        "a function",
        "a partial of a partial",
        "a class",
        "a method",
        "an object",
        "a bound method",
        "a view of Flask's",
        "a view that names its class",
        "a builtin",
    ],
)
def test_a_function_has_a_bare_name_and_one_with_its_module(endpoint, names):
    """Views of classes are called by their class."""
    assert function_names(endpoint) == names


def documented(text):
    """A function with a docstring."""

    def function():
        """Run."""

    function.__doc__ = text
    return function


@pytest.mark.parametrize(
    ("endpoint", "method", "found"),
    [
        (documented("It.\n\n---\noperationId: a_b\n"), "GET", "a_b"),
        (documented("It.\n---\nget:\n  operationId: 'x'  # its name\n"), "GET", "x"),
        (documented("It.\n\noperationId: no_yaml\n"), "GET", None),
        (documented("It. ---\noperationId: no\n"), "GET", None),
        (documented("It.\n---\nsummary: operationId\n"), "GET", None),
        (documented(None), "GET", None),
        (Things, "GET", "showThings"),
        (Things, "HEAD", "showThings"),
        (Things, "POST", None),
    ],
)
def test_an_operation_id_is_read_from_the_yaml_of_a_docstring(endpoint, method, found):
    """As Starlette's schema generator has it: behind three dashes."""
    assert documented_id(endpoint, method) == found
