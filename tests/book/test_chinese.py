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
from conftest import ROOT
from standin import PAGE, copy_project, once, write_standin
from test_search import file, typed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pseudo_chinese

from kexian_utils import catalogue
from kexian_utils.runner.pages import chinese, pdf
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


# -- the whole book -----------------------------------------------------------------------------

FIRST = {
    "梯度裁剪": "7469",
    "批归一化": "6992",
    "损失地形": "6992",
    "对抗训练": "7234",
    "對抗訓練": "7234",
    "虚拟对抗训练": "7466",
    "二维位置编码": "8397",
    "梯度归一化": "8757",
    "变分自编码器": "7725",
    "词向量": "4402",
    "重计算": "7367",
    "积分梯度": "7533",
    "光滑化": "6620",
    "权重尺度偏移": "7681",
    "路径核": "8009",
    "分层的学习率": "6418",
    "激活函数": "4647",
    "随机向量": "7076",
    "协变导数": "3998",
    "梯度累积": "5765",
    "多标签分类": "7359",
    "平方势散度": "6163",
    "7476 C1": "7476",
}


@pytest.fixture(scope="module")
def find(browser, book):
    """Type a query on the Chinese search page of the book, from a file."""
    with visit(browser, (book / "zh" / "search.html").as_uri()) as (page, problems):
        yield lambda query: typed(page, query)
        assert problems == []


@pytest.mark.parametrize("query", FIRST)
def test_the_chapter_that_is_about_it_comes_first(query, find):
    _, found = find(query)
    assert found[0]["file"] == file(FIRST[query]), [page["file"] for page in found]


def test_the_whole_book_is_translated(book):
    """What is missing is named, chapter by chapter; the pages show it in English, marked."""
    standing = project.standing(ROOT, catalogue.load(ROOT).articles)
    assert [f"{one.name}: {line}" for one in standing for line in one.problems] == []
    left = (book / chinese.UNKNOWN).read_text(encoding="utf-8").splitlines()
    assert left == []


def test_the_chinese_pages_are_joined_for_paper(book):
    text = pdf.join(book / "zh")
    assert text.startswith('<!doctype html><html lang="zh-CN"')
    ids = re.findall(r'<[a-z][^<>]*\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'<a [^>]*href="#([^"]*)"', text)) <= set(ids)
    addresses = re.findall(r'<(?:img|script|link)[^>]*(?:src|href)="([^":]+)"', text)
    assert [n for n in addresses if not (book / "zh" / n.split("?")[0]).is_file()] == []
