"""A real browser on the dashboard's page: Chromium of this machine, through Playwright."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from dashboard_made import World
from dashboard_world import served
from playwright.sync_api import Browser, Playwright, expect, sync_playwright

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


# As long as elsewhere on a busy machine; Playwright's five seconds are for an idle one.
expect.set_options(timeout=30_000)

# The plugin's own fixtures last for the whole run, and leave an event loop running in the thread of
# the tests meanwhile: `asyncio.run` of later tests would be refused. These end with the module.


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Playwright, for one module."""
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(engine: Callable[[str], str], playwright: Playwright) -> Iterator[Browser]:
    """The system's Chromium: Playwright's own download is not used."""
    launched = playwright.chromium.launch(executable_path=engine("chromium"), args=ARGUMENTS)
    yield launched
    launched.close()


@pytest.fixture(scope="module")
def browser_context_args() -> dict[str, object]:
    """A context as it comes, as large as a small laptop's screen."""
    return {"viewport": {"width": 1280, "height": 800}}


@pytest.fixture(scope="session")
def base_url() -> None:
    """Each test serves a page of its own."""


@pytest.fixture
def complaints(page) -> Iterator[list[str]]:
    """What the browser's console says: errors of scripts and of the security policy."""
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "console", lambda message: said.append(message.text) if message.type == "error" else None
    )
    return said


@pytest.fixture
def visit(page) -> Iterator[Callable[..., None]]:
    """Serve a world and open its page at a view; what is told from then on is heard."""
    with ExitStack() as stack:

        def go(world: World, view: str = "graph") -> None:
            address = stack.enter_context(served(world))
            page.goto(f"{address}/#/{view}", wait_until="domcontentloaded")
            expect(page.locator("#live")).to_have_text("live")

        yield go
        page.close()  # its event stream holds the server otherwise
