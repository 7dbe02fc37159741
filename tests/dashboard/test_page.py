"""The dashboard's graph in Chromium, over a world made up by the test."""

from __future__ import annotations

import re

import dashboard_made
from playwright.sync_api import expect

REVIEWS = "shop/productpage->shop/reviews"


def test_the_graph_draws_every_service_and_edge_with_its_numbers(page, visit, complaints):
    visit(dashboard_made.still(dashboard_made.shop()))
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
    visit(dashboard_made.still(dashboard_made.shop()))
    payments = page.locator('.node[data-id="checkout/payments"]')
    expect(payments).to_have_attribute("aria-label", re.compile("failing"))
    good = page.locator('.node[data-id="shop/details"] .shape').get_attribute("d")
    assert payments.locator(".shape").get_attribute("d") != good


def test_numbers_change_in_place(page, visit):
    world = dashboard_made.still(dashboard_made.shop())
    visit(world)
    label = page.locator(f'.label[data-id="{REVIEWS}"] text')
    expect(label).to_contain_text("41/s")
    page.evaluate("window.before = document.querySelector('.node')")
    world.tell("graph", {"nodes": [], "edges": [[REVIEWS, 77, 0, 1, 2, 3, "good"]]})
    expect(label).to_have_text("77/s · 2.0 ms")
    assert page.evaluate("window.before === document.querySelector('.node')")


def test_a_new_service_appears_with_the_next_layout(page, visit):
    world = dashboard_made.still(dashboard_made.shop())
    visit(world)
    expect(page.locator(".node")).to_have_count(12)
    world.graph["nodes"].append(dashboard_made.node("new", x=12, y=6))
    world.tell("layout", {})
    expect(page.locator('.node[data-id="shop/new"]')).to_be_visible()


def test_a_click_on_an_edge_opens_its_panel_and_escape_closes_it(page, visit, complaints):
    visit(dashboard_made.still(dashboard_made.shop()))
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
    visit(dashboard_made.still(dashboard_made.shop()))
    line = page.locator('.edge[data-id="unknown->shop/details"] .line')
    expect(line).to_be_attached()
    expect(page.locator(".label").first).to_be_visible()
    box = line.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.2, box["y"] + box["height"] / 2)
    expect(page.locator(".panel h2")).to_have_text("unknown → shop/details")


def test_history_that_is_not_kept_says_how_to_get_it(page, visit):
    visit(dashboard_made.still(dashboard_made.shop()), "graph/node/shop%2Freviews")
    page.get_by_role("button", name="6 h").click()
    expect(page.locator(".charts")).to_contain_text("--prometheus URL")


def test_a_namespace_and_a_search_narrow_the_graph(page, visit):
    visit(dashboard_made.still(dashboard_made.shop()))
    page.get_by_label("Namespace", exact=True).select_option("checkout")
    expect(page.locator('.node[data-id="shop/ratings"]')).to_be_hidden()
    expect(page.locator('.node[data-id="checkout/payments"]')).to_be_visible()
    page.get_by_label("Namespace", exact=True).select_option("")
    page.get_by_label("Find a service").fill("ratings")
    expect(page.locator(".count")).to_have_text("1 of 12")
    expect(page.locator('.node[data-id="checkout/cart"]')).to_be_hidden()


def test_the_same_edges_are_a_table_for_screen_readers_and_on_request(page, visit):
    visit(dashboard_made.still(dashboard_made.shop()))
    expect(page.locator(".edge-table tbody tr")).to_have_count(11)
    page.get_by_role("button", name="Table").click()
    row = page.locator(f'tr[data-edge="{REVIEWS}"]')
    expect(row).to_be_visible()
    expect(row).to_contain_text("degraded")
    row.get_by_role("button").click()
    expect(page.locator(".panel h2")).to_have_text("shop/productpage → shop/reviews")


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
    visit(dashboard_made.still(dashboard_made.shop()))
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
