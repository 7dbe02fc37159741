"""Reviews in three versions, and ratings: one app, told by SHOP_ROLE which of them it is.

SHOP_ROLE is reviews-v1 (text alone), reviews-v2 (with stars), reviews-v3 (with stars in colour) or
ratings. The stars come from the ratings, which the reviews ask for over the mesh.

SHOP_FAULT makes trouble for the ratings: `error` answers 500 to everything, `hang` never answers.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, HTTPException

from meshware.asgi import MeshMiddleware
from meshware.clients.httpx import AsyncMeshTransport

ROLE = os.environ.get("SHOP_ROLE", "reviews-v1")
FAULT = os.environ.get("SHOP_FAULT", "")
if ROLE not in {"reviews-v1", "reviews-v2", "reviews-v3", "ratings"}:
    raise SystemExit(f"SHOP_ROLE is {ROLE!r}; use reviews-v1, reviews-v2, reviews-v3 or ratings")
SERVICE, _, VERSION = ROLE.partition("-")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # Outbound: the client is httpx as ever, over the mesh's transport.
    async with httpx.AsyncClient(transport=AsyncMeshTransport()) as client:
        app.state.client = client
        yield


app = FastAPI(title=f"shop: {ROLE}", lifespan=lifespan)
app.add_middleware(MeshMiddleware)  # inbound: policy decides before the app sees a request


REVIEWS = {
    1: [
        {
            "reviewer": "Miranda",
            "text": "A storm, an island and forgiveness at the end. I read it aloud to my father, "
            "who wept and denied it.",
        },
        {
            "reviewer": "Caliban",
            "text": "The isle is full of noises, and the print is too small. Good binding though.",
        },
    ]
}
RATINGS = {1: {"Miranda": 5, "Caliban": 4}}


if SERVICE == "ratings":

    @app.get("/ratings/{product}")
    async def ratings(product: int) -> dict[str, Any]:
        if FAULT == "error":
            raise HTTPException(500, "the ratings are broken, on purpose")
        if FAULT == "hang":
            await asyncio.sleep(3600)
        if product not in RATINGS:
            raise HTTPException(404, "nobody has rated this product")
        return {"product": product, "stars": RATINGS[product]}

else:

    @app.get("/reviews/{product}")
    async def reviews(product: int) -> dict[str, Any]:
        if product not in REVIEWS:
            raise HTTPException(404, "nobody has reviewed this product")
        answer: dict[str, Any] = {
            "product": product,
            "version": VERSION,
            "colour": "crimson" if VERSION == "v3" else "black",
            "reviews": [dict(review) for review in REVIEWS[product]],
            "ratings": None,
        }
        if VERSION != "v1":
            stars, answer["ratings"] = await ask_for_stars(product)
            for review in answer["reviews"]:
                review["stars"] = stars.get(review["reviewer"])
        return answer

    async def ask_for_stars(product: int) -> tuple[dict[str, int], dict[str, Any]]:
        """Return the stars by reviewer, and how the call went. Without stars the text remains."""
        # `ratings` is a service of the mesh, not of DNS. Time-outs and retries are policy, and a
        # request that fails for good is an ordinary answer with status 503 or 504.
        response = await app.state.client.get(f"http://ratings:9080/ratings/{product}")
        mesh = response.extensions["meshware"]
        how = {
            "status": response.status_code,
            "attempts": mesh.attempts,
            "endpoint": mesh.endpoint,
            "flags": mesh.flags,
        }
        return (response.json()["stars"] if response.status_code == 200 else {}), how
