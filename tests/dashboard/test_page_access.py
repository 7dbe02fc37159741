"""The page for everybody: keys, touch, contrast, phones; in Chromium, over a world made up."""

from __future__ import annotations

import re

import dashboard_made
import dashboard_world
import pytest
from playwright.sync_api import expect


def test_arrow_keys_move_between_services_and_enter_opens_one(page, visit):
    visit(dashboard_made.still(dashboard_made.shop()))
    page.locator('.node[data-id="shop/ingress"]').focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator('.node[data-id="shop/productpage"]')).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".panel h2")).to_have_text("shop/productpage")
    page.keyboard.press("Escape")
    expect(page.locator('.node[data-id="shop/productpage"]')).to_be_focused()


def test_nothing_scrolls_sideways_on_a_phone(page, visit):
    page.set_viewport_size({"width": 390, "height": 800})
    visit(dashboard_made.shop())
    for view in ("graph/node/shop%2Freviews", "workers", "policy", "calls", "traces"):
        page.evaluate("view => { location.hash = '#/' + view }", view)
        expect(page.locator("main > *")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, view
        assert page.evaluate("document.getElementById('main').scrollWidth") <= 390, view


def test_the_theme_is_the_systems_until_somebody_chooses(page, visit):
    page.emulate_media(color_scheme="dark")
    visit(dashboard_made.shop())
    ground = "getComputedStyle(document.body).backgroundColor"
    expect(page.locator("#theme")).to_have_text("Auto")
    dark = page.evaluate(ground)
    page.locator("#theme").click()
    expect(page.locator("#theme")).to_have_text("Light")
    assert page.evaluate(ground) != dark


def test_keys_go_through_the_calls_of_a_service(page, visit, complaints):
    """E to the first, arrows to the next, Enter opens it; each says who calls whom, and how."""
    visit(dashboard_made.still(dashboard_made.shop()))
    page.locator('.node[data-id="checkout/payments"]').focus()
    page.keyboard.press("e")
    into = page.get_by_role("button", name=re.compile("cart calls checkout.payments"))
    expect(into).to_be_focused()
    expect(into).to_have_attribute("aria-label", re.compile("failing, 6.1/s, 27% errors. mTLS"))
    width = into.locator(".line").evaluate("line => getComputedStyle(line).strokeWidth")
    assert width == "5px", "focus is visible"
    page.keyboard.press("ArrowRight")
    out = page.locator('.edge[data-id="checkout/payments->outside/api.bank.example"]')
    expect(out).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".panel h2")).to_have_text("checkout/payments → outside/api.bank.example")


def test_escape_goes_from_a_call_back_to_its_service(page, visit):
    visit(dashboard_made.still(dashboard_made.shop()))
    node = page.locator('.node[data-id="shop/details"]')
    node.focus()
    page.keyboard.press("e")
    expect(node).not_to_be_focused()
    page.keyboard.press("Escape")
    expect(node).to_be_focused()


def test_escape_leads_from_the_panel_of_a_call_back_to_the_service_it_came_from(page, visit):
    """Not to the top of the page."""
    visit(dashboard_made.still(dashboard_made.shop()))
    node = page.locator('.node[data-id="shop/details"]')
    node.focus()
    page.keyboard.press("e")
    page.keyboard.press("Enter")
    expect(page.locator(".panel h2")).to_be_focused()
    page.keyboard.press("Escape")
    expect(node).to_be_focused()


CONTRAST = """() => {
    const channel = (value) => {
        const part = value / 255;
        return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    };
    const parse = (text) => (text.match(/[0-9.]+/g) || []).map(Number);
    const light = ([r, g, b]) =>
        0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    const over = (top, below) => {
        const alpha = top[3] ?? 1;
        return [0, 1, 2].map((i) => top[i] * alpha + below[i] * (1 - alpha));
    };
    const ground = (element) => {
        const chain = [];
        for (let one = element; one; one = one.parentElement) chain.unshift(one);
        let colour = [255, 255, 255];
        for (const one of chain) {
            const own = parse(getComputedStyle(one).backgroundColor);
            if (own.length) colour = over(own, colour);
            const box = one.namespaceURI.endsWith('svg') && one.querySelector(':scope > rect');
            if (box) colour = over(parse(getComputedStyle(box).fill), colour);
        }
        return colour;
    };
    const bad = [];
    let seen = 0;
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const element = walk.currentNode.parentElement;
        const style = getComputedStyle(element);
        const isSvg = element.namespaceURI.endsWith('svg');
        if (!walk.currentNode.data.trim() || element.tagName === 'title') continue;
        if (!element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })) continue;
        if (element.closest('.unseen, .skip')) continue;
        const below = ground(element);
        const text = over(parse(isSvg ? style.fill : style.color), below);
        const [a, b] = [light(text), light(below)].sort((x, y) => y - x);
        seen += 1;
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) bad.push(`${walk.currentNode.data.trim()}: ${ratio.toFixed(2)}`);
    }
    return { seen, bad };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "view", ["graph", "graph/edge/checkout%2Fcart-%3Echeckout%2Fpayments", "policy", "workers"]
)
def test_all_text_stands_out_from_its_ground(page, visit, scheme, view):
    """WCAG AA: 4.5:1, by the colours that the browser has worked out."""
    page.emulate_media(color_scheme=scheme)
    visit(dashboard_made.still(dashboard_made.shop()), view)
    expect(page.locator("main > *").first).to_be_visible()
    if view.startswith("graph/"):
        expect(page.locator(".panel .chart svg")).to_have_count(5)
    elif view != "graph":
        expect(page.locator("tbody tr, details").first).to_be_visible()
    found = page.evaluate(CONTRAST)
    assert found["seen"] > 20
    assert found["bad"] == []


@pytest.fixture
def touched(browser):
    """A page on a phone."""
    context = browser.new_context(viewport={"width": 390, "height": 780}, has_touch=True)
    yield context.new_page()
    context.close()


def fingers_on(page):
    """What puts, moves and lifts fingers, as the machine's driver tells the browser."""
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    return touch


def seen_at(page) -> list[float]:
    """The camera: how far the drawing is moved, and how large it is."""
    text = page.locator(".world").get_attribute("transform")
    return [float(number) for number in re.findall(r"-?[0-9.]+", text)]


def test_a_tap_selects_a_finger_pans_and_two_pinch(touched):
    with dashboard_world.served(dashboard_made.still(dashboard_made.shop())) as address:
        touched.goto(address)
        expect(touched.locator("#live")).to_have_text("live")
        expect(touched.locator(".node").first).to_be_visible()
        fingers, (x, y, size) = fingers_on(touched), seen_at(touched)
        fingers("touchStart", (200, 400))
        for step in range(1, 9):
            fingers("touchMove", (200 - 8 * step, 400 - 6 * step))
        fingers("touchEnd")
        world = touched.locator(".world")
        expect(world).not_to_have_attribute("transform", re.compile(f"^translate\\({x} "))
        moved = seen_at(touched)
        assert moved[0] < x
        assert moved[1] < y
        assert moved[2] == size
        expect(touched.locator(".panel")).to_be_hidden()
        fingers("touchStart", (180, 400), (220, 400))
        for step in range(1, 9):
            fingers("touchMove", (180 - 6 * step, 400), (220 + 6 * step, 400))
        fingers("touchEnd")
        expect(world).not_to_have_attribute("transform", re.compile(f"scale\\({size}\\)"))
        assert seen_at(touched)[2] > size
        touched.get_by_role("button", name="Show all").tap()
        touched.locator('.node[data-id="shop/productpage"]').tap()
        expect(touched.locator(".panel h2")).to_have_text("shop/productpage")
        touched.close()


SHOWN = """() => {
  const stage = document.querySelector(".stage").getBoundingClientRect();
  const legend = document.querySelector(".legend").getBoundingClientRect();
  const boxes = [...document.querySelectorAll(".node:not(.gone)")].map((node) => [node.dataset.id, node.querySelector("rect").getBoundingClientRect()]);
  const meets = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const inside = (box) => box.left >= stage.left && box.right <= stage.right && box.top >= stage.top && box.bottom <= stage.bottom && !meets(box, legend);
  return {
    inside: boxes.filter(([, box]) => inside(box)).map(([id]) => id),
    overlapping: boxes.filter(([id, box]) => boxes.some(([other, its]) => id !== other && meets(box, its))).length,
    text: Math.min(...[...document.querySelectorAll(".node:not(.gone) .name")].map((text) => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a)),
  };
}"""  # noqa: E501


def at_rest(page):
    """Wait until the drawing stands where the camera is."""
    expect(page.locator(".world")).to_have_attribute("transform", re.compile("scale"))
    expect(page.locator(".drawing")).to_have_css("transform", "none")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_starts_with_all_of_a_small_mesh(page, visit, scheme):
    """All services in view, apart, beside the legend, and with names that can be read."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme=scheme)
    visit(dashboard_made.still(dashboard_made.shop()))
    expect(page.locator(".node")).to_have_count(12)
    at_rest(page)
    found = page.evaluate(SHOWN)
    assert len(found["inside"]) == 12
    assert found["overlapping"] == 0
    assert found["text"] >= 6.5


def test_a_phone_starts_with_the_busiest_part_of_a_large_mesh_and_stays_there(page, visit):
    """Names can be read; who comes elsewhere moves nothing; all of it is a touch away."""
    world = dashboard_made.still(dashboard_made.crowd())
    for node in world.graph["nodes"]:
        node["rate"] = 5000 if node["id"] == "team-3/service-117" else 1
    page.set_viewport_size({"width": 390, "height": 844})
    visit(world)
    expect(page.locator(".node")).to_have_count(200)
    at_rest(page)
    found = page.evaluate(SHOWN)
    assert "team-3/service-117" in found["inside"]
    assert 1 < len(found["inside"]) < 200
    assert found["text"] >= 6.5
    before = seen_at(page)
    placed = page.locator('.node[data-id="team-3/service-117"]').get_attribute("transform")
    world.graph["nodes"].append(dashboard_made.node("new", x=24, y=60, rate=90_000))
    world.tell("layout", {})
    expect(page.locator('.node[data-id="shop/new"]')).to_be_attached()
    at_rest(page)
    assert seen_at(page) == before
    there = page.locator('.node[data-id="team-3/service-117"]')
    assert there.get_attribute("transform") == placed
    page.get_by_role("button", name="Show all").click()
    scale = re.compile(f"scale\\({before[2]}\\)")
    expect(page.locator(".world")).not_to_have_attribute("transform", scale)
    assert len(page.evaluate(SHOWN)["inside"]) == 201
