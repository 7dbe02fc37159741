"""The page of a bookshop: one product, with the reviews that another service has of it."""

from dataclasses import dataclass
from typing import Any

import requests
from flask import Flask, abort, jsonify, render_template, request

from meshware import current_call
from meshware.clients.requests import MeshAdapter
from meshware.wsgi import MeshMiddleware

app = Flask(__name__)
app.wsgi_app = MeshMiddleware(app.wsgi_app)  # inbound: policy decides before the app is called

http = requests.Session()
http.mount("http://", MeshAdapter())  # outbound: names of the mesh, retries, time-outs, routes

PRODUCTS: dict[int, dict[str, Any]] = {
    1: {
        "id": 1,
        "title": "The Tempest",
        "author": "William Shakespeare",
        "summary": "A duke who was robbed of his city raises a storm, strands his enemies on an "
        "island, and finds that he would rather have an apology than a revenge.",
        "facts": {"Pages": "144", "Binding": "Paperback", "Language": "English", "Price": "£ 6.50"},
    },
}


@app.get("/")
def front() -> str:
    return product(1)


@app.get("/products/<int:number>")
def product(number: int) -> str:
    return render_template("product.html", user=who(), **everything_about(number))


@app.get("/api/products/<int:number>")
def product_as_json(number: int) -> Any:
    return jsonify(everything_about(number))


@dataclass
class Reader:
    """What an account's token says of its owner."""

    sub: str
    name: str = ""


@app.get("/account")
def account() -> Any:
    # The mesh has verified the token, by policies/users.yaml; here is only what it says.
    call = current_call()
    if call is None or call.principal is None:
        abort(401)
    reader = call.claims_as(Reader)
    return jsonify({"account": reader.sub, "name": reader.name, "signed_in_as": call.principal})


def everything_about(number: int) -> dict[str, Any]:
    """Return a product, its reviews (None where there are none to be had) and how they came."""
    if number not in PRODUCTS:
        abort(404)
    # `reviews` is a service of the mesh, not of DNS. Which version answers, how long we wait and
    # whether we may ask at all is policy; whatever happens, a response comes back.
    headers = {"end-user": who()} if who() else {}
    response = http.get(f"http://reviews:9080/reviews/{number}", headers=headers)
    mesh = response.meshware
    return {
        "product": PRODUCTS[number],
        "reviews": response.json() if response.ok else None,
        "call": {
            "status": response.status_code,
            "attempts": mesh.attempts,
            "endpoint": mesh.endpoint,
            "route": mesh.route,
            "flags": mesh.flags,
        },
    }


def who() -> str:
    """Return who is visiting: the `end-user` header, or ?user= to try it in a browser."""
    return request.headers.get("end-user") or request.args.get("user", "")
