"""What comes first as a page opens: nothing moves, formulas in sight are set before others."""

from __future__ import annotations

import re

import pytest
from checks import visit
from conftest import ROOT
from test_book_sources import load

pytestmark = pytest.mark.browser

CHAPTER = "optimisation/batch-normalization"
LEFT = (
    "[...document.querySelectorAll('.math')].filter((box) => !box.querySelector('mjx-container'))"
)


@pytest.mark.parametrize("width", [375, 1280])
def test_text_does_not_move_while_a_page_comes(width, browser, address):
    measuring = load(ROOT / "tools/measure_pages.py")
    found = measuring.measure(browser, f"{address}/how-to-run.html", width, slow=False)
    assert found["shift"] < 0.05
    assert found["reading"] < 0.05


def test_formulas_in_sight_come_first_then_all_and_all_before_paper(browser, book):
    page = browser.new_page()
    page.goto(f"{(book / CHAPTER).as_uri()}.html#claims")
    page.wait_for_selector("#claims mjx-container", state="attached")
    assert page.evaluate(f"{LEFT}.length") > 20  # of some hundreds, on a busy machine, too
    box = "box.getBoundingClientRect()"
    in_sight = f"(box) => {box}.bottom > 0 && {box}.top < innerHeight"
    assert page.evaluate(f"{LEFT}.filter({in_sight}).length") == 0
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(f"{LEFT}.length") == 0
    page.evaluate("kexianFormulas")
    assert page.evaluate("document.querySelectorAll('mjx-container mjx-container').length") == 0
    page.close()


def test_pictures_have_their_room_before_they_come(book):
    for path in (book / f"{CHAPTER}.html", book / "gallery.html"):
        pictures = re.findall(r'<img [^>]*\bsrc="[^"]*\.webp"[^>]*>', path.read_text("utf-8"))
        assert pictures
        for picture in pictures:
            assert 'loading="lazy"' in picture
            assert re.search(r'width="\d+" height="\d+"', picture)


def test_the_font_of_icons_holds_those_that_are_shown_and_few_others(browser, address, book):
    from fontTools.ttLib import TTFont

    glyphs = TTFont(book / "_static/fonts/icons.woff").getBestCmap()
    assert len(glyphs) < 60
    with visit(browser, f"{address}/{CHAPTER}.html") as (page, _):
        shown = page.evaluate(
            "[...document.querySelectorAll('[class*=fa-]')].map((icon) => "
            "getComputedStyle(icon, '::before').content).filter((text) => text.length == 3)"
        )
        assert len(shown) > 5
        assert {ord(text[1]) for text in shown} <= glyphs.keys()
        used = page.evaluate(
            "[...document.fonts].filter((face) => face.status == 'loaded').map((f) => f.family)"
        )
        assert any("Font Awesome" in family for family in used)


def test_the_book_holds_no_files_that_no_page_asks_for(book):
    assert not list(book.rglob("*.map"))
    assert not (book / "_static/locales").exists()
    assert not (book / "_static/scripts/fontawesome.js").exists()
    assert not (book / "searchindex.js").exists()
