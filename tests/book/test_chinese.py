"""The Chinese edition: built from one source, complete, and one press away from the English one.

It is tried on the small book, whose messages a translator of one word has translated.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from checks import visit
from standin import PAGE, copy_project, once, write_standin

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pseudo_chinese

from kexian_utils import catalogue
from kexian_utils.runner.pages import chinese
from kexian_utils.runner.pages.book import build
from kexian_utils.runner.pages.fonts import pages_in
from kexian_utils.runner.translation import project
from kexian_utils.runner.translation.edition import MARK

pytestmark = [
    pytest.mark.browser,
    pytest.mark.in_turn(
        "kexian_utils/runner/translation",
        "kexian_utils/runner/pages",
        "book/_ext",
        "book/assets",
        "book/locale",
    ),
]


@pytest.fixture(scope="session")
def both(tmp_path_factory) -> Path:
    """The small book in both languages."""
    return once(tmp_path_factory, "both", _build)


def _build(folder: Path) -> Path:
    root = copy_project(folder / "project", chinese=True)
    write_standin(root)
    project.update(root, catalogue.load(root).articles)
    for path in (root / project.LOCALE).glob("*.po"):
        pseudo_chinese.fill(path)
    return build("stored", root, root / "_build").parent


def test_every_page_but_the_librarys_is_there_in_chinese(both):
    english = {p.relative_to(both).as_posix() for p in pages_in(both)}
    twins = {name.removeprefix("zh/") for name in english if name.startswith("zh/")}
    assert {n for n in english if not n.startswith(("zh/", "library/"))} == twins


def test_no_english_is_left(both):
    left = (both / chinese.UNKNOWN).read_text(encoding="utf-8").splitlines()
    assert left == []
    assert not [p for p in pages_in(both / "zh") if MARK in p.read_text(encoding="utf-8")]


def test_places_have_the_same_names(both):
    for path in pages_in(both / "zh"):
        twin = both / path.relative_to(both / "zh")
        here, there = (
            re.findall(r'<section id="([^"]+)"', p.read_text(encoding="utf-8"))
            for p in (path, twin)
        )
        assert here == there, path


def test_formulas_and_code_are_the_same(both):
    for name in (PAGE, "notation", "how-to-read"):
        here, there = (
            sorted(
                re.findall(r'<(?:span|div) class="math[^>]*>(.*?)</(?:span|div)>', text, re.S)
                + re.findall(r'class="cell_input.*?</pre>', text, re.S)
            )
            for text in (
                (folder / f"{name}.html").read_text(encoding="utf-8")
                for folder in (both, both / "zh")
            )
        )
        assert here == there, name


def press(page):
    """Press the switch as a hand does: Playwright's own click scrolls the page before it."""
    box = page.locator(".kexian-language").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


@pytest.mark.parametrize("width", [375, 1280])
def test_the_switch_stays_at_the_place_both_ways(browser, both, width):
    with visit(browser, (both / f"{PAGE}.html").as_uri(), width=width) as (page, problems):
        section = page.locator(".bd-article section section[id]").first
        place = section.get_attribute("id")
        section.evaluate(
            "async node => { await window.kexianFormulas;"
            " node.scrollIntoView({block: 'start', behavior: 'instant'}); }"
        )
        press(page)
        page.wait_for_url(f"**/zh/{PAGE}.html#{place}")
        assert page.locator("html").get_attribute("lang") == "zh-CN"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        press(page)
        page.wait_for_url(f"**/{PAGE}.html#{place}")
        assert page.locator("html").get_attribute("lang") == "en"
        assert problems == []


def test_each_page_names_its_twin(both):
    text = (both / "zh" / f"{PAGE}.html").read_text(encoding="utf-8")
    assert re.search(r'<link rel="alternate" hreflang="en" href="\.\./\.\./[^"]+" />', text)
    text = (both / f"{PAGE}.html").read_text(encoding="utf-8")
    assert 'hreflang="zh-CN" href="../zh/' in text


def test_scripts_speak_chinese(browser, both):
    with visit(browser, (both / "zh" / "ledger.html").as_uri()) as (page, problems):
        assert "条论断" in page.locator(".kexian-count").inner_text()
        assert problems == []
    with visit(browser, (both / "zh" / "search.html").as_uri()) as (page, problems):
        page.fill("form.kexian-search input", "文文")
        page.wait_for_function("document.querySelectorAll('.kexian-hits > li').length > 0")
        assert "页" in page.locator(".kexian-search-status").inner_text()
        assert problems == []


def test_what_the_scripts_say_is_translated(both):
    text = (both / "zh" / "_static" / "words.js").read_text(encoding="utf-8")
    known = json.loads(text[text.index("{") : text.index("};") + 1])
    said = {
        words
        for script in (both / "_static").glob("*.js")
        for words in re.findall(r"\bsay\('([^']+)'", script.read_text(encoding="utf-8"))
    }
    assert said - set(known) == set()


def test_an_untranslated_sentence_is_shown_and_marked(tmp_path):
    root = copy_project(tmp_path / "project", chinese=True)
    write_standin(root)
    project.update(root, catalogue.load(root).articles)
    made = chinese.Translation(root).page("One sentence that nobody has translated.")
    assert made == f"{MARK}One sentence that nobody has translated."
