"""The dashboard's page in Chromium, over a world made up by the test."""

from __future__ import annotations

import re
import time

import dashboard_made
import dashboard_world
import pytest
from playwright.sync_api import expect

REVIEWS = "shop/productpage->shop/reviews"


def still(world: dashboard_made.World) -> dashboard_made.World:
    """The same, with numbers that stay."""
    world.moving = False
    return world


def test_the_graph_draws_every_service_and_edge_with_its_numbers(page, visit, complaints):
    visit(still(dashboard_made.shop()))
    expect(page.locator(".node")).to_have_count(12)
    expect(page.locator(".edge")).to_have_count(11)
    label = page.locator(f'.label[data-id="{REVIEWS}"]')
    expect(label.locator("text")).to_have_text("41/s · 3.4% err · 52 ms")
    expect(label.locator("title")).to_have_text(
        "mTLS: spiffe://cluster.local/ns/shop/sa/productpage"
        " → spiffe://cluster.local/ns/shop/sa/reviews"
    )
    expect(page.locator("#live")).to_have_text("live")
    assert complaints == []


def test_health_is_told_by_word_and_shape_as_well_as_colour(page, visit):
    visit(still(dashboard_made.shop()))
    payments = page.locator('.node[data-id="checkout/payments"]')
    expect(payments).to_have_attribute("aria-label", re.compile("failing"))
    good = page.locator('.node[data-id="shop/details"] .shape').get_attribute("d")
    assert payments.locator(".shape").get_attribute("d") != good


def test_numbers_change_in_place(page, visit):
    world = still(dashboard_made.shop())
    visit(world)
    label = page.locator(f'.label[data-id="{REVIEWS}"] text')
    expect(label).to_contain_text("41/s")
    page.evaluate("window.before = document.querySelector('.node')")
    world.tell("graph", {"nodes": [], "edges": [[REVIEWS, 77, 0, 1, 2, 3, "good"]]})
    expect(label).to_have_text("77/s · 2.0 ms")
    assert page.evaluate("window.before === document.querySelector('.node')")


def test_a_new_service_appears_with_the_next_layout(page, visit):
    world = still(dashboard_made.shop())
    visit(world)
    expect(page.locator(".node")).to_have_count(12)
    world.graph["nodes"].append(dashboard_made.node("new", 4, 3))
    world.tell("layout", {})
    expect(page.locator('.node[data-id="shop/new"]')).to_be_visible()


def test_a_click_on_an_edge_opens_its_panel_and_escape_closes_it(page, visit, complaints):
    visit(still(dashboard_made.shop()))
    page.locator('.label[data-id="checkout/cart->checkout/payments"]').click()
    panel = page.locator(".panel")
    expect(panel.locator("h2")).to_have_text("checkout/cart → checkout/payments")
    expect(panel.locator(".chart svg")).to_have_count(5)
    expect(panel.locator("tr.out")).to_contain_text("ejected by 2")
    panel.locator("details.policy summary").first.click()
    expect(panel.locator("details.policy pre").first).to_contain_text("kind: MeshConfig")
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    assert complaints == []


def test_an_edge_is_clicked_on_its_line_too(page, visit):
    visit(still(dashboard_made.shop()))
    line = page.locator('.edge[data-id="/unknown->shop/details"] .line')
    expect(line).to_be_attached()
    expect(page.locator(".label").first).to_be_visible()
    box = line.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.2, box["y"] + box["height"] / 2)
    expect(page.locator(".panel h2")).to_have_text("/unknown → shop/details")


def test_history_that_is_not_kept_says_how_to_get_it(page, visit):
    visit(still(dashboard_made.shop()), "graph/node/shop%2Freviews")
    page.get_by_role("button", name="6 h").click()
    expect(page.locator(".charts")).to_contain_text("--prometheus URL")


def test_arrow_keys_move_between_services_and_enter_opens_one(page, visit):
    visit(still(dashboard_made.shop()))
    page.locator('.node[data-id="shop/ingress"]').focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator('.node[data-id="shop/productpage"]')).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".panel h2")).to_have_text("shop/productpage")
    page.keyboard.press("Escape")
    expect(page.locator('.node[data-id="shop/productpage"]')).to_be_focused()


def test_a_namespace_and_a_search_narrow_the_graph(page, visit):
    visit(still(dashboard_made.shop()))
    page.get_by_label("Namespace", exact=True).select_option("checkout")
    expect(page.locator('.node[data-id="shop/ratings"]')).to_be_hidden()
    expect(page.locator('.node[data-id="checkout/payments"]')).to_be_visible()
    page.get_by_label("Namespace", exact=True).select_option("")
    page.get_by_label("Find a service").fill("ratings")
    expect(page.locator(".count")).to_have_text("1 of 12")
    expect(page.locator('.node[data-id="checkout/cart"]')).to_be_hidden()


def test_the_same_edges_are_a_table_for_screen_readers_and_on_request(page, visit):
    visit(still(dashboard_made.shop()))
    expect(page.locator(".edge-table tbody tr")).to_have_count(11)
    page.get_by_role("button", name="Table").click()
    row = page.locator(f'tr[data-edge="{REVIEWS}"]')
    expect(row).to_be_visible()
    expect(row).to_contain_text("degraded")
    row.get_by_role("button").click()
    expect(page.locator(".panel h2")).to_have_text("shop/productpage → shop/reviews")


def test_a_worker_that_is_out_of_step_stands_out_and_comes_first(page, visit, complaints):
    visit(dashboard_made.shop(), "workers")
    first = page.locator("tbody tr").first
    expect(first).to_contain_text("2 behind")
    expect(first).to_contain_text("event loop lags")
    expect(page.locator("tr.behind")).to_have_count(3)
    assert complaints == []


def test_a_worker_tells_of_its_process_certificate_lag_and_memory(page, visit, complaints):
    visit(dashboard_made.shop(), "workers")
    row = page.locator('tr[data-worker="productpage-v1-4101"]')
    for text in (
        "pid 4101", "gunicorn/23.0.0", "0.1.0", "Python 3.13.1", "current",
        "applied 2 min ago", "in 40 min", "embedded", "1.2 ms", "event loop", "49.6 MiB",
        "shop · 127.0.0.1:9080",
    ):  # fmt: skip
        expect(row).to_contain_text(text)
    bare = page.locator('tr[data-worker="reviews-v1-4203"]')
    expect(bare.locator("td")).to_have_text(
        ["reviews-v1shop", "●current", "pid 4203reviews-v1-4203", "–", "7", "none", "–", "–", "–",
         "1 h 30 min ago"]
    )  # fmt: skip
    refused = page.locator('tr[data-worker="details-v1-4304"]')
    refused.locator("summary").click()
    expect(refused).to_contain_text("no such subset: v9")
    assert complaints == []


def test_what_a_worker_claims_is_text(page, visit, complaints):
    world = dashboard_made.shop()
    markup = "<img src=x onerror=alert(1)>"
    world.workers["workers"] = [
        world.workers["workers"][0]
        | dict.fromkeys(("version", "python", "server", "address", "state", "lag_of"), markup)
        | {"troubles": [markup], "refusals": [{"reason": markup}]}
    ]
    visit(world, "workers")
    expect(page.locator("tbody tr")).to_contain_text(markup)
    expect(page.locator("tbody img")).to_have_count(0)
    assert complaints == []


def test_a_broken_policy_shows_its_finding_and_a_good_one_moves_the_generation(page, visit):
    world = dashboard_made.shop()
    visit(world, "policy")
    expect(page.locator("[data-code=unreachable-rule]")).to_contain_text("no call comes here")
    problem = {
        "severity": "error", "code": "weights", "kind": "VirtualService", "namespace": "shop",
        "name": "reviews", "field": "spec.http[0]", "file": "reviews.yaml", "line": 20,
        "message": "weights add up to 90; make them 100",
    }  # fmt: skip
    world.publish(refused={"since": time.time(), "reason": "1 error", "problems": [problem]})
    expect(page.locator(".alert")).to_contain_text("weights add up to 90")
    world.publish()
    expect(page.locator(".alert")).to_have_count(0)
    expect(page.locator('[data-generation="8"]')).to_contain_text("VirtualService shop/reviews")
    expect(page.locator("#generation")).to_have_text("generation 8")


def test_a_refused_call_shows_why(page, visit, complaints):
    world = dashboard_made.shop()
    visit(world, "calls")
    expect(page.locator(".calls details")).to_have_count(3)
    world.calls.insert(0, dashboard_made.refusal(time.time(), path="/ratings/9"))
    world.tell("call", {})
    newest = page.locator(".calls details").first
    expect(newest).to_contain_text("/ratings/9")
    newest.locator("summary").click()
    expect(newest.locator(".why")).to_contain_text("no ALLOW policy has a rule that takes it")
    expect(newest.locator(".why")).to_contain_text("Policy has changed since")
    expect(newest.locator(".why")).to_contain_text("security.yaml:14")
    assert complaints == []


def test_markup_in_what_callers_send_stays_text(page, visit):
    visit(dashboard_made.shop(), "calls")
    expect(page.locator(".calls")).to_contain_text("/charge/<b>bold</b>")
    expect(page.locator(".calls summary b")).to_have_count(0)


def test_a_trace_is_a_waterfall_in_the_order_of_the_tree(page, visit, complaints):
    visit(dashboard_made.shop(), "traces")
    rows = page.locator(".waterfall .row")
    expect(rows).to_have_count(9)
    expect(rows.nth(4)).to_have_attribute("aria-label", re.compile("attempt 1.*failed"))
    rows.nth(4).click()
    expect(page.locator(".waterfall dl:visible")).to_contain_text("meshware.generation")
    assert complaints == []


def test_calls_are_narrowed_by_what_happened_and_by_words(page, visit):
    visit(dashboard_made.shop(), "calls")
    rows = page.locator(".calls details:visible")
    expect(rows).to_have_count(3)
    page.get_by_label("What happened").select_option("failed")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("payments")
    page.get_by_label("What happened").select_option("")
    page.get_by_label("Find calls").fill("jwt_is_expired")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("41 more before it")
    expect(page.locator(".count")).to_have_text("1 of 3")


def test_a_failed_call_has_its_attempts(page, visit):
    visit(dashboard_made.shop(), "calls")
    failed = page.locator(".calls details").nth(1)
    failed.locator("summary").first.click()
    expect(failed.locator(".tries tbody tr")).to_have_count(2)
    failed.get_by_role("link", name=re.compile("^7d1f")).click()
    expect(page.locator(".waterfall h2")).to_contain_text("7d1f0c8a")


def test_a_trace_is_a_table_for_those_who_do_not_look_at_bars(page, visit, complaints):
    visit(dashboard_made.shop(), "traces")
    page.get_by_role("button", name="Table").click()
    rows = page.locator(".waterfall .spans tbody tr")
    expect(rows).to_have_count(9)
    expect(page.get_by_role("button", name="Table")).to_be_focused()
    expect(rows.nth(4).locator("td").nth(2)).to_have_text("1")
    expect(rows.nth(5).locator("td").nth(2)).to_have_text("2")
    assert complaints == []


def test_arrow_keys_walk_through_a_waterfall_and_the_list_of_traces(page, visit):
    visit(dashboard_made.shop(), "traces")
    rows = page.locator(".waterfall .row")
    rows.first.focus()
    page.keyboard.press("ArrowDown")
    expect(rows.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(rows.nth(1)).to_have_attribute("aria-expanded", "true")
    buttons = page.locator(".trace-list button")
    buttons.first.focus()
    page.keyboard.press("ArrowDown")
    expect(buttons.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(rows).to_have_count(2)


def test_a_daemon_that_goes_away_is_told_and_one_that_returns_is_live_again(page, visit):
    world = dashboard_made.shop()
    visit(world)
    expect(page.locator("#live")).to_have_text("live")
    world.listening = False
    expect(page.locator("#live")).to_have_text("not live")
    expect(page.locator("#notice")).to_contain_text("the last that was heard")
    world.listening = True
    expect(page.locator("#live")).to_have_text("live")
    expect(page.locator("#notice")).to_be_hidden()


def test_a_clock_that_is_set_does_not_make_a_live_page_lost(page, visit):
    visit(still(dashboard_made.shop()))
    page.evaluate(
        """() => {
            window.states = [];
            const live = document.getElementById('live');
            new MutationObserver(() => window.states.push(live.dataset.state))
                .observe(live, { attributes: true, attributeFilter: ['data-state'] });
            let steps = 0;
            const now = Date.now.bind(Date);
            Date.now = () => now() + steps * 3600e3;
            setInterval(() => { document.body.dataset.steps = (steps += 1); }, 700);
        }"""
    )
    expect(page.locator("body")).to_have_attribute("data-steps", "5")
    assert "lost" not in page.evaluate("window.states")


def test_every_empty_view_says_what_to_do(page, visit):
    visit(dashboard_made.empty())
    expect(page.locator(".empty")).to_contain_text("meshware run")
    for view, words in (
        ("Workers", "meshware run"),
        ("Policy", "meshware init"),
        ("Calls", "No call was refused"),
        ("Traces", "randomSamplingPercentage"),
    ):
        page.get_by_role("link", name=view).click()
        expect(page.locator(".empty")).to_contain_text(words)


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


def test_two_hundred_services_are_updated_in_place(page, visit, complaints):
    world = dashboard_made.crowd()
    visit(world)
    expect(page.locator(".node")).to_have_count(200)
    expect(page.locator(".edge")).to_have_count(2000)
    first = page.locator(".node .numbers").first
    before = first.text_content()
    page.evaluate("window.before = document.querySelector('.edge')")
    expect(first).not_to_have_text(before)
    assert page.evaluate("window.before === document.querySelector('.edge')")
    assert page.locator(".label").count() < 100
    assert complaints == []


def test_keys_go_through_the_calls_of_a_service(page, visit, complaints):
    """E to the first, arrows to the next, Enter opens it; each says who calls whom, and how."""
    visit(still(dashboard_made.shop()))
    page.locator('.node[data-id="checkout/payments"]').focus()
    page.keyboard.press("e")
    into = page.get_by_role("button", name=re.compile("cart calls checkout.payments"))
    expect(into).to_be_focused()
    expect(into).to_have_attribute("aria-label", re.compile("failing, 6.1/s, 27% errors. mTLS"))
    width = into.locator(".line").evaluate("line => getComputedStyle(line).strokeWidth")
    assert width == "5px", "focus is visible"
    page.keyboard.press("ArrowRight")
    out = page.locator('.edge[data-id="checkout/payments->/api.bank.example"]')
    expect(out).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".panel h2")).to_have_text("checkout/payments → /api.bank.example")


def test_escape_goes_from_a_call_back_to_its_service(page, visit):
    visit(still(dashboard_made.shop()))
    node = page.locator('.node[data-id="shop/details"]')
    node.focus()
    page.keyboard.press("e")
    expect(node).not_to_be_focused()
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
    visit(still(dashboard_made.shop()), view)
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
    with dashboard_world.served(still(dashboard_made.shop())) as address:
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
