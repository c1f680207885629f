"""The built pages in a real browser."""

from __future__ import annotations

import os

import pytest
from checks import LOOKS, ask, look, look_everywhere, resize, visit
from conftest import ROOT
from standin import CLAIMS, CODE, PAGE

from kexian_utils import catalogue
from kexian_utils.runner.checks.choice import touched_or_in_turn
from kexian_utils.runner.doctor import chromium_path
from kexian_utils.runner.pages import library
from kexian_utils.runner.pages.book import chapters_of

pytestmark = pytest.mark.browser

FIXED = (
    "index",
    "how-to-read",
    "how-to-run",
    "notation",
    "gallery",
    "ledger",
    "errata",
    "status",
    "bibliography",
    "search",
    "404",
)
PARTS = tuple(f"parts/{part.id}" for part in catalogue.load(ROOT).parts)
ROOMS = dict.fromkeys(entry.room for entry in library.read(ROOT).entries)
FURTHER = (page for page, _ in library.FURTHER.values())
LIBRARY = ("library/index", *(f"library/{page}" for page in (*ROOMS, *FURTHER)))
CHAPTERS = tuple(f"{article.part}/{article.slug}" for article in chapters_of(ROOT))
FULLY = 4  # chapters that were touched last, and as many in turn, are looked at in every way
IN_CHINESE = 3  # and their Chinese pages, of which the others are looked at weekly
WEEKLY = os.environ.get("KEXIAN_WEEKLY") == "1"
BRIEFLY = (
    set()
    if WEEKLY
    else {*CHAPTERS}
    - {f"{a.part}/{a.slug}" for a in touched_or_in_turn(chapters_of(ROOT), ROOT, FULLY)}
)
READ = touched_or_in_turn(chapters_of(ROOT), ROOT, IN_CHINESE)


CHINESE = tuple(f"zh/{page}" for page in (*FIXED, *PARTS, *CHAPTERS))  # all but the library's
LOOKED_AT = (
    CHINESE
    if WEEKLY
    else [f"zh/{page}" for page in (*FIXED, *PARTS, *(f"{a.part}/{a.slug}" for a in READ))]
)
AT_CORNERS = BRIEFLY if WEEKLY else {*BRIEFLY, *LOOKED_AT}


@pytest.mark.parametrize("page", [*FIXED, *PARTS, *LIBRARY, *CHAPTERS, *LOOKED_AT])
def test_a_page_is_whole_on_phone_and_screen_in_light_and_dark(page, browser, address):
    looks = (*LOOKS, "formulas", "references")
    found = look_everywhere(browser, f"{address}/{page}.html", looks, page in AT_CORNERS)
    assert found == []


def test_a_formula_too_wide_for_a_phone_is_set_smaller_and_grows_again(browser, small_address):
    size = "node => parseFloat(getComputedStyle(node).fontSize)"
    with visit(browser, f"{small_address}/{PAGE}.html") as (shown, _):
        wide = shown.locator("div.math mjx-container").filter(has_text="ω")
        large = wide.evaluate(size)
        resize(shown, 375)
        assert 0.7 * large < wide.evaluate(size) < 0.95 * large
        assert wide.evaluate("node => node.scrollWidth <= node.parentElement.clientWidth")
        resize(shown, 1280)
        assert wide.evaluate(size) == large


def test_every_page_of_the_book_is_looked_at(book):
    built = {
        path.relative_to(book).with_suffix("").as_posix()
        for path in book.rglob("*.html")
        if not {"_static", "_sources"} & set(path.relative_to(book).parts)
    }
    assert built == {*FIXED, *PARTS, *LIBRARY, *CHAPTERS, *CHINESE}


@pytest.mark.parametrize(
    "page", [PAGE, "ledger", "gallery", "errata", "status", "parts/transformers"]
)
def test_a_full_chapter_is_whole_everywhere(page, browser, small_address):
    assert look_everywhere(browser, f"{small_address}/{page}.html") == []


@pytest.mark.parametrize("page", ["index", "notation", "ledger", "search", *CHAPTERS[:1]])
def test_pages_work_from_a_file(page, browser, book):
    with visit(browser, (book / f"{page}.html").as_uri()) as (shown, problems):
        assert problems + look(shown, LOOKS[:-1]) == []


# -- ledger -------------------------------------------------------------------------------------


def rows(page):
    return page.locator(".kexian-ledger tbody tr:visible").count()


def test_the_ledger_filters_without_a_server(browser, small_book):
    with visit(browser, (small_book / "ledger.html").as_uri()) as (page, problems):
        assert rows(page) == len(CLAIMS)
        page.select_option("select[name=verdict]", "holds")
        # Two decided here, one by a dated study.
        assert rows(page) == 3
        page.select_option("select[name=kind]", "erratum")
        assert rows(page) == 1
        assert "1 of" in page.locator(".kexian-count").inner_text()
        page.click(".kexian-filter button")
        page.wait_for_timeout(50)
        assert rows(page) == len(CLAIMS)
        # By keyboard alone.
        page.focus("input[name=words]")
        page.keyboard.type("table 1")
        assert rows(page) == 1
        page.locator(".kexian-ledger tbody tr:visible a").first.press("Enter")
        page.wait_for_url("**/rope-2d.html#claim-c4")
        assert page.locator("#claim-c4").is_visible()
        assert problems == []


def test_every_row_leads_to_its_cell(browser, small_address):
    with visit(browser, f"{small_address}/{PAGE}.html") as (page, _):
        for record in CLAIMS:
            box = page.locator(f"#claim-{record['claim'].lower()}")
            assert record["claim"] in box.inner_text()
            assert record["verdict"] in box.inner_text()


def test_the_ledger_is_a_plain_table_without_scripts(browser, small_address):
    with visit(browser, f"{small_address}/ledger.html", java_script_enabled=False) as (page, _):
        assert rows(page) == len(CLAIMS)
        assert not page.locator(".kexian-filter").is_visible()


# -- chapters -----------------------------------------------------------------------------------


def test_code_is_copied(browser, small_address):
    with visit(browser, f"{small_address}/{PAGE}.html") as (page, problems):
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        cell = page.locator("div.cell", has_text="answer = 6 * 7").first
        cell.hover()
        cell.locator("button.copybtn").first.click()
        page.wait_for_timeout(200)
        assert page.evaluate("navigator.clipboard.readText()").strip() == CODE
        assert problems == []


def test_a_chapter_offers_the_notebook_and_the_launch_links(browser, small_address):
    with visit(browser, f"{small_address}/{PAGE}.html") as (page, _):
        links = {
            link.inner_text(): link.get_attribute("href")
            for link in page.locator(".kexian-bar a").all()
        }
        path = f"notebooks/{PAGE}.ipynb"
        assert links == {
            "Download notebook": f"../_sources/{PAGE}.ipynb",
            "Open in Colab": f"https://colab.research.google.com/github/owner/name/blob/main/{path}",
            "Launch in JupyterLab (Binder)": "https://mybinder.org/v2/gh/owner/name/main"
            f"?urlpath=lab/tree/{path}",
        }
        answer = page.request.get(f"{small_address}/_sources/{PAGE}.ipynb")
        assert answer.json()["nbformat"] == 4


@pytest.mark.parametrize("page", CHAPTERS or ["index"])
def test_without_an_address_nothing_is_invented(page, browser, address):
    with visit(browser, f"{address}/{page}.html") as (shown, _):
        links = shown.eval_on_selector_all("a", "links => links.map(a => a.href)")
        for host in ("colab.research.google.com", "mybinder.org", "github.com"):
            assert not [link for link in links if host in link and "/owner/" in link]
        assert not shown.locator(".kexian-bar a", has_text="Colab").count()
        assert not shown.locator(".kexian-bar a", has_text="Binder").count()


def test_a_missing_browser_is_noticed(monkeypatch, tmp_path):
    monkeypatch.setenv("KEXIAN_CHROMIUM", str(tmp_path / "nothing"))
    assert chromium_path() is None


def frame(page):
    return int(page.locator(".kexian-slider").first.get_attribute("data-frame"))


def test_the_slider_moves_by_keyboard(browser, small_book):
    with visit(browser, (small_book / f"{PAGE}.html").as_uri()) as (page, problems):
        first = page.locator(".kexian-slider input[type=range]").first
        path = page.locator(".kexian-slider path.kx-level").first
        before, drawn = frame(page), path.get_attribute("d")
        first.focus()
        page.keyboard.press("ArrowRight")
        assert frame(page) == before + 3
        assert path.get_attribute("d") != drawn
        page.locator(".kexian-slider input[type=range]").nth(1).focus()
        page.keyboard.press("End")
        assert frame(page) == before + 5
        assert page.locator(".kx-value").inner_text() == "3.00"
        assert first.get_attribute("aria-valuetext") == "-0.50"
        assert problems == []


def test_the_slider_moves_by_touch(browser, small_address):
    url = f"{small_address}/{PAGE}.html"
    with visit(browser, url, width=375, has_touch=True, is_mobile=True) as (page, problems):
        handle = page.locator(".kexian-slider input[type=range]").first
        handle.scroll_into_view_if_needed()
        box = handle.bounding_box()
        assert box["height"] >= 44
        page.touchscreen.tap(box["x"] + box["width"] * 0.98, box["y"] + box["height"] / 2)
        assert frame(page) == 12
        assert problems == []


PICTURE = ".cell_output a.image-reference:visible img"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_figure_is_the_one_for_the_page_and_is_seen_larger(browser, small_address, scheme):
    url = f"{small_address}/{PAGE}.html"
    loaded = []
    with visit(browser, url, width=375, scheme=scheme) as (page, problems):
        pictures = page.locator(PICTURE)
        assert pictures.count() == 1
        assert pictures.get_attribute("class") == f"only-{scheme}"
        small = pictures.bounding_box()["width"]
        pictures.click()
        large = page.locator("dialog.kexian-large[open] img")
        assert large.bounding_box()["width"] > 1.5 * small
        page.go_back()
        assert page.locator("dialog[open]").count() == 0
        assert page.url == url
        pictures.click()
        page.keyboard.press("Escape")
        assert page.locator("dialog[open]").count() == 0
        page.emulate_media(media="print")
        assert pictures.get_attribute("class") == "only-light"
        assert problems == []

    with visit(browser, "about:blank", scheme=scheme) as (page, _):
        page.on("request", lambda request: loaded.append(request.url))
        page.goto(url)
        page.locator(PICTURE).scroll_into_view_if_needed()
        page.wait_for_load_state("networkidle")
        assert sum(address.endswith(".webp") for address in loaded) == 1


def test_print_and_no_script_show_the_still_picture(browser, small_address):
    url = f"{small_address}/{PAGE}.html"
    with visit(browser, url, scheme="dark") as (page, _):
        assert not page.locator(".kx-fallback").is_visible()
        page.emulate_media(media="print")
        page.add_style_tag(content="* { transition: none !important; }")
        # Dark pages are printed dark on white.
        assert ask(page, "contrast") == []
        assert page.locator("article h1").first.is_visible()
        assert page.locator(".kx-fallback").is_visible()
        assert not page.locator(".kx-live").is_visible()
        assert not page.locator(".bd-sidebar-primary").is_visible()
    with visit(browser, url, java_script_enabled=False) as (page, _):
        assert page.locator(".kx-fallback").is_visible()


def test_the_keyboard_sees_where_it_is(browser, address):
    with visit(browser, f"{address}/index.html") as (page, _):
        page.keyboard.press("Tab")
        page.wait_for_timeout(400)  # the link slides in
        focused = page.evaluate(
            """() => {
              const node = document.activeElement, style = getComputedStyle(node);
              const box = node.getBoundingClientRect();
              return [node.textContent.trim(), style.outlineStyle, parseFloat(style.outlineWidth),
                      box.top >= 0 && box.height > 0];
            }"""
        )
        assert "Skip" in focused[0]
        assert focused[1] == "solid"
        assert focused[2] >= 2
        assert focused[3]
        page.keyboard.press("Enter")
        assert page.url.endswith("#main-content")


# -- the theme's own buttons ----------------------------------------------------------------------


def opened(page, name):
    return page.evaluate(f"document.querySelector('#pst-{name}-sidebar-modal').open")


@pytest.mark.parametrize("width", [375, 800])
@pytest.mark.parametrize("how", ["click", "touch", "keyboard"])
def test_the_menu_and_the_contents_open_on_narrow_screens(width, how, browser, small_address):
    def press(button):
        if how == "keyboard":
            button.focus()
            page.keyboard.press("Enter")
        else:
            button.tap() if how == "touch" else button.click()

    with visit(browser, f"{small_address}/{PAGE}.html", width=width, has_touch=True) as (
        page,
        problems,
    ):
        for name, words in (("primary", "Gallery"), ("secondary", "Where the article errs")):
            (button,) = page.locator(f".{name}-toggle:visible").all()
            press(button)
            page.wait_for_function(f"document.querySelector('#pst-{name}-sidebar-modal').open")
            link = page.locator(f"#pst-{name}-sidebar-modal a", has_text=words)
            assert link.first.is_visible()
            page.keyboard.press("Escape")
            assert not opened(page, name)
        press(button)
        link.first.click()
        page.wait_for_function("!document.querySelector('#pst-secondary-sidebar-modal').open")
        assert page.evaluate("window.scrollY") > 100
        press(page.locator(".primary-toggle:visible").first)
        page.locator("#pst-primary-sidebar-modal a", has_text="Gallery").first.click()
        page.wait_for_url("**/gallery.html")
        assert problems == []


def test_the_menu_goes_and_comes_on_a_desktop(browser, small_address):
    with visit(browser, f"{small_address}/{PAGE}.html") as (page, _):
        sidebar = page.locator(".bd-sidebar-primary")
        assert sidebar.is_visible()
        page.locator(".primary-toggle:visible").click()
        page.wait_for_function(
            "getComputedStyle(document.querySelector('.bd-sidebar-primary')).visibility =="
            " 'hidden' || document.querySelector('.bd-sidebar-primary').offsetWidth == 0 ||"
            " document.querySelector('.bd-sidebar-primary').getBoundingClientRect().right <= 0"
        )
        page.locator(".primary-toggle:visible").click()
        sidebar.wait_for(state="visible")


def test_every_summary_has_a_name_and_every_icon_is_there(browser, small_address):
    with visit(browser, f"{small_address}/{PAGE}.html") as (page, _):
        nameless = page.evaluate(
            "[...document.querySelectorAll('summary')].filter("
            "s => !s.textContent.trim() && !s.getAttribute('aria-label')).length"
        )
        assert nameless == 0
        icons = page.evaluate(
            "[...document.querySelectorAll('.bd-header-article [class*=fa-]')].map("
            "i => getComputedStyle(i, '::before').content)"
        )
        assert icons
        assert all(content not in ("none", "normal", '""') for content in icons)


# -- the first paint ------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_readers_colours_are_there_before_anything_is_painted(scheme, browser, small_address):
    context = browser.new_context(color_scheme=scheme)
    context.add_init_script(
        "window.seen = []; new MutationObserver(() => { if (document.body) "
        "seen.push(document.documentElement.dataset.theme); })"
        ".observe(document, {childList: true, subtree: true, attributes: true});"
    )
    page = context.new_page()
    page.goto(f"{small_address}/{PAGE}.html")
    page.wait_for_load_state()
    assert set(page.evaluate("seen")) == {scheme}
    context.close()


def requested(browser, address):
    page = browser.new_page()
    names = []
    page.on("request", lambda request: names.append(request.url.split("?")[0].split("/")[-1]))
    page.goto(address)
    page.wait_for_load_state()
    page.close()
    return set(names)


def test_a_page_asks_for_what_it_uses(browser, small_address):
    front = requested(browser, f"{small_address}/index.html")
    chapter = requested(browser, f"{small_address}/{PAGE}.html")
    searching = requested(browser, f"{small_address}/search.html")
    search_scripts = {"search.js", "search-index.js"}
    assert "mathjax.js" in chapter
    assert "mathjax.js" not in front
    assert "search.js" in searching
    assert not {"searchtools.js", "searchindex.js"} & (front | chapter | searching)
    assert not search_scripts & (front | chapter)
    assert "fontawesome.js" not in front | chapter | searching
    assert "icons.woff" in front
    assert "fa-solid-900.woff2" not in front | chapter | searching
    assert {"previews.js", "code.js"} <= chapter
    assert not {"previews.js", "code.js"} & (front | searching)


@pytest.mark.parametrize("width", [375, 1280])
def test_formulas_in_a_line_are_no_scroll_boxes(width, browser, small_address):
    with visit(browser, f"{small_address}/{PAGE}.html", width=width) as (page, _):
        boxes = page.evaluate(
            "[...document.querySelectorAll('span.math')].filter(s => !s.matches('.kexian-wide') &&"
            " (s.scrollWidth > s.clientWidth + 1 && getComputedStyle(s).overflowX != 'visible'"
            " || s.tabIndex >= 0)).map(s => s.textContent)"
        )
        assert boxes == []


# -- from a filter to its address ---------------------------------------------------------------


def test_the_filter_of_the_ledger_is_in_the_address(browser, small_address):
    with visit(browser, f"{small_address}/ledger.html") as (page, problems):
        page.select_option("select[name=verdict]", "holds")
        page.fill("input[name=words]", "e")
        shown = rows(page)
        assert 0 < shown < len(CLAIMS)
        assert page.url.endswith("ledger.html?verdict=holds&words=e")
        page.reload()
        assert rows(page) == shown
        page.locator(".kexian-ledger tbody tr:visible a").first.click()
        page.wait_for_url("**/rope-2d.html#**")
        page.go_back()
        page.wait_for_url("**/ledger.html?**")
        assert page.input_value("select[name=verdict]") == "holds"
        assert rows(page) == shown
        page.click(".kexian-filter button")
        page.wait_for_timeout(50)
        assert page.url.endswith("ledger.html")
        assert problems == []


def test_solutions_are_unfolded_on_paper_and_addresses_printed(browser, small_address):
    with visit(browser, f"{small_address}/{PAGE}.html") as (page, _):
        solution = page.locator(".bd-article details:not(.hide)", has_text="Solution").first
        closed = solution.evaluate("node => node.scrollHeight")
        page.emulate_media(media="print")
        assert solution.evaluate("node => node.getBoundingClientRect().height") > closed + 10
        after = page.locator('.bd-article a[href^="https://"]').first.evaluate(
            "node => getComputedStyle(node, '::after').content"
        )
        assert "https://" in after
