"""The search, as a reader uses it: what comes first, with which words, and where a hit leads."""

from __future__ import annotations

import pytest
from checks import visit
from standin import PAGE

from kexian_utils import catalogue

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def find(browser, book):
    """Type a query on the search page of the book, from a file; returns the pages that are hit."""
    with visit(browser, (book / "search.html").as_uri()) as (page, problems):

        def look(query):
            return typed(page, query)

        look.page = page
        yield look
        assert problems == []


def typed(page, query, box="form.kexian-search", shown="main"):
    """Type a query; the status sentence and, for each page that is hit, its file and its places."""
    status = f"{shown} .kexian-search-status"
    page.locator(status).evaluate("node => { node.textContent = ''; }")
    page.fill(f"{box} input", "")
    page.fill(f"{box} input", query)
    page.wait_for_function(f"document.querySelector('{status}').textContent")
    found = page.evaluate(
        """(shown) => [...document.querySelectorAll(`${shown} .kexian-hits > li`)].map((item) => ({
          file: new URL(item.querySelector('a').href).pathname.split('/').slice(-2).join('/')
            .replace('.html', ''),
          places: [...item.querySelectorAll('li')].map((place) => ({
            href: place.querySelector('a').getAttribute('href'),
            heading: place.querySelector('a').textContent,
            text: place.querySelector('p').textContent,
            marks: [...place.querySelectorAll('mark')].map((mark) => mark.textContent),
          })),
        }))""",
        shown,
    )
    return page.inner_text(status), found


def file(article):
    found = catalogue.load().article(article)
    return f"{found.part}/{found.slug}"


FIRST = {
    "梯度裁剪": "7469",
    "gradient clipping": "7469",
    "clipped gradients": "7469",
    "位置编码": "8397",
    "WGAN-GP": "4439",
    "梯度归一化": "8757",
    "变分自编码器": "7725",
    "softmax": "7359",
    "dropout": "4521",
    "noise_shape": "4521",
    "7076": "7076",
    "6992": "6992",
    "批归一化": "6992",
    "损失地形": "6992",
    "对抗训练": "7234",
    "對抗訓練": "7234",
    "虚拟对抗训练": "7466",
    "virtual adversarial training": "7466",
    "焦点损失": "4733",
    "focal loss": "4733",
    "光滑化": "6620",
    "积分梯度": "7533",
    "AdaX": "7387",
    "根本停不下来": "7500",
    "权重尺度偏移": "7681",
    "路径核": "8009",
    "分层的学习率": "6418",
    "词向量": "4402",
    "重计算": "7367",
    "单个loss实现GAN模型": "6387",
    "平方势散度": "6163",
    "梯度裁剪加速": "7469",
    "Reversibility, precisely": "8397",
}


@pytest.mark.parametrize("query", FIRST)
def test_the_chapter_that_is_about_it_comes_first(query, find):
    _, found = find(query)
    assert found[0]["file"] == file(FIRST[query]), [page["file"] for page in found]


def test_a_section_is_a_hit_with_its_heading_and_its_words(find):
    status, found = find("kymograph")
    assert status == "1 place on 1 page"
    (place,) = found[0]["places"]
    assert "kymograph" in place["heading"]
    assert place["href"].split("#")[1].startswith("the-kymograph")
    assert {mark.lower() for mark in place["marks"]} == {"kymograph"}
    assert len(place["text"]) < 260


def test_names_in_code_are_found_whole(find, book):
    _, found = find("expand_width")
    files = {page["file"].removeprefix("book/") for page in found}
    holding = {
        path.relative_to(book).with_suffix("").as_posix()
        for path in book.rglob("*.html")
        if path.relative_to(book).parts[0] != "zh"
        and "expand_width" in path.read_text(encoding="utf-8").replace("<wbr>", "")
        and path.name != "search.html"
    }
    assert files == holding
    assert found[0]["places"][0]["heading"] == "expand_width"


def test_a_claim_is_found_by_its_number(find):
    _, found = find("7076 C1")
    assert found[0]["file"] == file("7076")
    assert found[0]["places"][0]["heading"] == "Claim C1"
    assert found[0]["places"][0]["href"].endswith("#claim-c1")


def test_either_script_finds_the_same(find):
    assert find("對抗訓練") == find("对抗训练")
    assert find("優化") == find("优化")
    assert find("优化")[1]


def test_what_stands_nowhere_gets_a_sentence_that_helps(find):
    for query in ("xyzzy", "乒乓球拍", "旋转批归一化乙"):
        status, found = find(query)
        assert found == []
        assert f"“{query}” stands nowhere" in status
    status, found = find("gradeint clipping")
    assert found == []
    find.page.locator(".kexian-search-status button", has_text="gradient clipping").click()
    find.page.wait_for_selector(".kexian-hits a")
    assert "Without it: 梯度" in find("xyzzy 梯度")[0]
    assert "no page holds all" in find("kymograph trigamma")[0]


def test_quotes_keep_words_together_and_common_words_do_not_count(find):
    assert len(find('"loss landscape"')[1]) < len(find("loss landscape")[1])
    assert find("what is the kymograph") == find("kymograph")


def test_a_query_is_text_and_stands_in_the_address(find):
    find("<img src=x onerror=alert(1)>")
    assert not find.page.locator("main img").count()
    find("trigamma")
    assert find.page.url.endswith("search.html?q=trigamma")
    find.page.reload()
    find.page.wait_for_selector(".kexian-hits a")


@pytest.mark.parametrize("width", [375, 1280])
def test_a_hit_lands_on_its_section_with_its_marks_in_sight(width, browser, book):
    start = (book / "search.html").as_uri()
    with visit(browser, f"{start}?q=kymograph", width=width) as (page, problems):
        page.locator(".kexian-hits li li a").first.click()
        page.wait_for_url("**/batch-normalization.html?marks=kymograph#**")
        page.wait_for_selector("mark.kexian-mark")
        page.wait_for_load_state()
        page.evaluate("() => window.kexianFormulas")
        page.wait_for_timeout(300)
        seen = page.evaluate(
            """() => {
              const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
              const inside = (node) => { const box = node.getBoundingClientRect();
                return box.top >= 0 && box.bottom <= innerHeight; };
              return [inside(place.querySelector('h2')),
                      [...place.querySelectorAll('mark')].some(inside)];
            }"""
        )
        assert seen == [True, True]
        page.click(".kexian-marks button")
        assert page.locator("mark").count() == 0
        assert "marks" not in page.url
        assert problems == []


def test_a_page_opens_at_its_first_mark(browser, book):
    chapter = (book / f"{file('6992')}.html").as_uri()
    with visit(browser, f"{chapter}?marks=kymograph") as (page, _):
        page.wait_for_timeout(300)
        mark = page.locator("mark.kexian-mark").first
        top = mark.evaluate("node => node.getBoundingClientRect().top")
        assert page.evaluate("scrollY") > 1000
        assert 0 < top < 900


def test_the_dialog_finds_while_one_types(browser, book):
    with visit(browser, (book / f"{PAGE}.html").as_uri()) as (page, problems):
        page.keyboard.press("Control+k")
        page.wait_for_selector("#pst-search-dialog .kexian-search-status", state="attached")
        status, found = typed(page, "梯度裁剪", *["#pst-search-dialog"] * 2)
        assert "pages" in status
        assert found[0]["file"] == file("7469")
        page.locator("#pst-search-dialog .kexian-hits a").first.click()
        page.wait_for_url("**/gradient-clipping.html?marks=**")
        assert problems == []


def test_a_mark_in_folded_code_opens_the_fold(browser, small_address):
    with visit(browser, f"{small_address}/{PAGE}.html?marks=Because") as (page, _):
        assert page.locator("details", has_text="Solution").first.get_attribute("open") is not None
