"""What a reader does with a chapter: follow a reference, look ahead, run, cite, hide code."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from checks import visit
from conftest import PUBLIC, ROOT
from pypdf import PdfReader
from standin import PAGE

from kexian_utils import catalogue
from kexian_utils.errors import KexianError
from kexian_utils.runner.pages import chapters as chapter_pages
from kexian_utils.runner.pages import pdf
from kexian_utils.runner.pages.book import chapters_of
from kexian_utils.runner.skeleton import site_address

sys.path.insert(0, str(ROOT / "book/_ext"))

pytestmark = pytest.mark.browser

CHAPTERS = tuple(f"{article.part}/{article.slug}" for article in chapters_of(ROOT))
SHOWN = "#kexian-preview:not([hidden])"
SHIFT = """window.shift = 0; new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.shift += entry.value;
}).observe({type: 'layout-shift', buffered: false});"""


@pytest.fixture
def chapter(browser, small_address):
    with visit(browser, f"{small_address}/{PAGE}.html") as (page, problems):
        yield page
        assert problems == []


# -- references -----------------------------------------------------------------------------------


def test_references_are_links_where_the_page_holds_what_they_name(browser, small_book):
    address = (small_book / f"{PAGE}.html").as_uri()
    with visit(browser, address, java_script_enabled=False) as (page, _):
        links = page.eval_on_selector_all(
            ".bd-article a.kexian-ref",
            "links => links.map(a => [a.textContent, a.getAttribute('href').slice(1)])",
        )
        section = [link for link in links if link[1] not in ("eq-1", "eq-4")]
        assert ["(4)", "eq-4"] in links  # in a caption
        assert {tuple(link) for link in links} >= {
            ("(1)", "eq-1"),
            ("(3)", "eq-3"),
            ("C2", "claim-c2"),
            ("Figure 1", "figure-1"),
            ("exercise 1", "exercise-1"),
            ("sections 2", "a-section-with-references"),
            ("3", "exercises"),
        }
        words = {text for text, _ in section}
        assert not words & {"(9)", "(2016)", "C99", "section 7", "6992"}
        for _, place in links:
            assert page.locator(f"[id='{place}']").count() == 1


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("#eq-3", "\U0001d44f"),  # an italic b
        ("#claim-c2", "is never violated"),
        ("#a-section-with-references", "A section with references"),
        ("#figure-1", "A line that rises"),
        ("#exercise-1", "Show that"),
        ("https://arxiv.org/abs/1805.11604", "A Work"),
    ],
)
def test_a_reference_shows_what_it_leads_to(reference, words, chapter):
    link = chapter.locator(f'.bd-article p > a[href="{reference}"]').first
    link.scroll_into_view_if_needed()
    chapter.wait_for_timeout(100)
    chapter.evaluate(SHIFT)
    link.hover()
    box = chapter.wait_for_selector(SHOWN)
    assert words in box.inner_text()
    assert chapter.evaluate(f"!document.querySelector('{SHOWN}').querySelector('[id]')")
    if reference == "#figure-1":
        assert chapter.locator(f"{SHOWN} img:visible").count() == 1  # for a light page
    inside = chapter.evaluate(
        "box => { const r = box.getBoundingClientRect(); return r.left >= 0 && r.top >= 0 &&"
        " r.right <= innerWidth && r.bottom <= innerHeight; }",
        box,
    )
    assert inside
    chapter.keyboard.press("Escape")
    assert chapter.locator(SHOWN).count() == 0
    assert chapter.evaluate("window.shift") == 0


def test_a_preview_opens_by_keyboard_and_stays_while_the_pointer_is_on_it(chapter):
    link = chapter.locator('a.kexian-ref[href="#claim-c2"]').first
    link.focus()
    chapter.keyboard.press("Shift+Tab")
    chapter.keyboard.press("Tab")
    chapter.wait_for_selector(SHOWN)
    assert link.get_attribute("aria-describedby") == "kexian-preview"
    chapter.keyboard.press("Escape")
    assert chapter.locator(SHOWN).count() == 0
    link.hover()
    chapter.wait_for_selector(SHOWN)
    chapter.locator(SHOWN).hover()
    chapter.wait_for_timeout(400)
    assert chapter.locator(SHOWN).count() == 1
    chapter.mouse.move(1, 1)
    chapter.wait_for_selector("#kexian-preview", state="hidden")
    link.click()
    assert chapter.url.endswith("#claim-c2")


def test_the_first_tap_shows_and_the_link_in_it_goes(browser, small_address):
    url = f"{small_address}/{PAGE}.html"
    with visit(browser, url, width=375, has_touch=True, is_mobile=True) as (page, problems):
        page.locator('a.kexian-ref[href="#claim-c2"]').first.tap()
        page.wait_for_selector(SHOWN)
        assert "#" not in page.url
        page.locator(f"{SHOWN} .kexian-go").tap()
        page.wait_for_url("**#claim-c2")
        assert page.locator(SHOWN).count() == 0
        assert problems == []


@pytest.mark.skipif(not CHAPTERS, reason="no chapter is finished")
def test_chapters_lead_to_chapters(book):
    ids = {f"{a.part}/{a.slug}.html": a.id for a in chapters_of(ROOT)}
    named = []
    for path in [*(book / f"{page}.html" for page in CHAPTERS), *book.glob("library/*.html")]:
        text = path.read_text(encoding="utf-8")

        def target(address, place=path.parent):
            found = (place / address.split("#")[0]).resolve()
            return found.relative_to(book.resolve()).as_posix()

        if path.parent.name != "library" and len(CHAPTERS) > 2:
            end = text.split('id="related-chapters"', 1)[1].split("</ul>")[0]
            found = [target(link) for link in re.findall(r'href="([^#"]+)"', end)]
            assert found
            assert set(found) <= set(ids) - {path.relative_to(book).as_posix()}
        links = re.findall(r'<a class="kexian-ref [^>]*href="([^#"][^"]*)"[^>]*>([^<]*)</a>', text)
        named += [(ids[target(address)], words.split()[0]) for address, words in links]
    assert named
    assert all(id == words for id, words in named)


def linked(text, pages):
    from docutils import nodes
    from docutils.utils import new_document
    from kexian_references import Targets, link_references

    document = new_document("page")
    document += nodes.paragraph("", "", nodes.Text(text))
    document += nodes.paragraph("", "", nodes.literal("", text))
    link_references(document, Targets({("equation", "4'"): "eq-4-prime"}, pages))
    return [(link.astext(), link["refuri"]) for link in document.findall(nodes.reference)]


def test_an_article_number_leads_to_its_chapter_and_its_claims():
    pages = {"6992": ("../a/b.html", "A chapter")}
    text = "The chapter on 6992, 6992 C3 and (4\u2019); not 5409, 1.6992, 6992-1 or 16992."
    assert linked(text, pages) == [
        ("6992", "../a/b.html"),
        ("6992 C3", "../a/b.html#claim-c3"),
        ("(4\u2019)", "#eq-4-prime"),
    ]


# -- the bar --------------------------------------------------------------------------------------


def test_the_bar_says_how_to_run_and_cite_and_when_it_ran(chapter):
    bar = chapter.locator(".kexian-about")
    assert re.search(r"\d+ minutes? to read", bar.inner_text())
    assert bar.locator("time").inner_text() == "2026-01-02"
    chapter.context.grant_permissions(["clipboard-read", "clipboard-write"])
    copied = {}
    for fold in bar.locator("details").all():
        fold.locator("summary").click()
        fold.locator(".highlight").hover()
        fold.locator("button.copybtn").click()
        chapter.wait_for_timeout(100)
        copied[fold.locator("summary").inner_text()] = chapter.evaluate(
            "navigator.clipboard.readText()"
        ).strip()
    run, cite = copied.values()
    assert run == "kexian run 8397"
    assert f"url = {{{PUBLIC}{PAGE}.html}}" in cite
    assert "year = {2026}" in cite
    assert "url = {https://kexue.fm/archives/8397}" in cite
    assert cite.count("@") == 2


def test_without_a_run_or_an_address_a_citation_invents_nothing():
    article = catalogue.load(ROOT).article("6992")
    entry = chapter_pages.chapter_bibtex(article, "", "")
    assert "year" not in entry
    assert "url" not in entry
    assert article.title in entry


def test_code_is_hidden_and_stays_so_without_a_flash(browser, small_book):
    context = browser.new_context()
    context.add_init_script(
        "window.seen = []; new MutationObserver(() => { if (document.body) "
        "seen.push(document.documentElement.dataset.code || 'shown'); })"
        ".observe(document, {childList: true, subtree: true, attributes: true});"
    )
    page = context.new_page()
    page.goto((small_book / f"{PAGE}.html").as_uri())
    code = page.locator("div.cell_input:visible, details.hide.above-input:visible")
    assert code.count() > 0
    page.locator(".kexian-code-switch").press("Enter")
    assert code.count() == 0
    assert page.locator(".kexian-claim").first.is_visible()
    page.reload()
    page.wait_for_load_state()
    assert set(page.evaluate("seen")) == {"hidden"}
    assert code.count() == 0
    page.locator(".kexian-code-switch", has_text="Show code").click()
    assert code.count() > 0
    context.close()


def test_a_refused_memory_does_not_break_the_switch(browser, small_address):
    with visit(browser, f"{small_address}/index.html") as (page, problems):
        page.add_init_script(
            "Object.defineProperty(Storage.prototype, 'setItem', {value() {"
            " throw new DOMException('refused', 'SecurityError'); }});"
        )
        page.goto(f"{small_address}/{PAGE}.html")
        page.locator(".kexian-code-switch").click()
        assert page.locator("div.cell_input:visible").count() == 0
        # The theme's own script stores its colours unguarded.
        assert [text for text in problems if "kexian" in text or "code.js" in text] == []


def test_what_only_opens_and_closes_a_run_is_not_shown(chapter):
    text = chapter.locator("article").inner_text()
    assert "The run is complete" not in text
    assert "Place of the headline" not in text
    assert "exp.finish" not in text
    assert "The angle is kept" in text  # the headline itself


# -- the front page and what publishing needs -----------------------------------------------------


def test_the_front_page_begins_with_a_picture_and_chapters(browser, book):
    with visit(browser, (book / "index.html").as_uri()) as (page, problems):
        assert page.title() == "Kexian, an executable companion to Scientific Spaces (科学空间)"
        if CHAPTERS:
            picture = page.locator(".kexian-front img:visible")
            assert picture.bounding_box()["y"] < 900
            assert 1 <= page.locator(".kexian-start li").count() <= 3
            for link in page.locator(".kexian-state a").all():
                count, _, verdict = link.inner_text().partition(" ")
                page.goto((book / link.get_attribute("href")).as_uri().replace("%3F", "?"))
                shown = page.locator(".kexian-ledger tbody tr:visible").count()
                assert shown >= int(count), verdict
                page.go_back()
        assert problems == []


def meta(page):
    return page.eval_on_selector_all(
        "meta[content]",
        "tags => Object.fromEntries("
        "tags.map(t => [t.name || t.getAttribute('property'), t.content]))",
    )


def test_pages_are_described_and_addressed_when_the_book_has_an_address(
    browser, small_book, small_address
):
    with visit(browser, f"{small_address}/{PAGE}.html") as (page, _):
        tags = meta(page)
        assert tags["og:title"] == "Rotary position embedding in two dimensions"
        assert 40 <= len(tags["description"]) <= 210
        assert tags["og:image"] == f"{PUBLIC}_static/gallery/rope-2d-light.webp"
        canonical = page.locator("link[rel=canonical]").get_attribute("href")
        assert canonical == f"{PUBLIC}{PAGE}.html" == tags["og:url"]
    assert (small_book / "_static/gallery/rope-2d-light.webp").is_file()
    names = {"s": "http://www.sitemaps.org/schemas/sitemap/0.9", "a": "http://www.w3.org/2005/Atom"}
    places = ElementTree.parse(small_book / "sitemap.xml").findall("s:url/s:loc", names)
    found = [str(place.text).removeprefix(PUBLIC) for place in places]
    assert all((small_book / name).is_file() for name in found)
    assert {"index.html", f"{PAGE}.html"} <= set(found)
    (entry,) = ElementTree.parse(small_book / "feed.xml").findall("a:entry", names)
    assert entry.findtext("a:updated", namespaces=names) == "2026-01-02T03:04:05Z"
    lost = (small_book / "404.html").read_text(encoding="utf-8")
    assert f'href="{PUBLIC}index.html#parts"' in lost
    assert not re.findall(r'(?:href|src)="(?!https?:|#|data:)[^"]*"', lost)


def test_without_an_address_none_is_written(browser, book):
    assert not (book / "sitemap.xml").exists()
    assert not (book / "feed.xml").exists()
    with visit(browser, (book / "how-to-read.html").as_uri()) as (page, _):
        tags = meta(page)
        assert len(tags["description"]) >= 40
        assert "og:image" not in tags
        assert page.locator("link[rel=canonical], link[type='application/atom+xml']").count() == 0


def test_an_odd_address_of_the_book_is_refused(tmp_path):
    settings = tmp_path / "pyproject.toml"
    settings.write_text('[tool.kexian]\naddress = "owner.github.io"\n', encoding="utf-8")
    with pytest.raises(KexianError, match=r"https://OWNER\.github\.io/NAME/"):
        site_address(tmp_path)
    settings.write_text('[tool.kexian]\naddress = "https://o.github.io/n"\n', encoding="utf-8")
    assert site_address(tmp_path) == "https://o.github.io/n/"


# -- paper ----------------------------------------------------------------------------------------


def test_the_joined_pages_lead_within_themselves(book):
    text = pdf.join(book)
    ids = re.findall(r'<[a-z][^<>]*\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'<a [^>]*href="#([^"]*)"', text)) <= set(ids)
    assert not re.findall(r'<a [^>]*href="(?!https?:|#|mailto:)[^"]*"', text)
    addresses = re.findall(r'<(?:img|script|link)[^>]*(?:src|href)="([^":]+)"', text)
    assert addresses
    assert [name for name in addresses if not (book / name.split("?")[0]).is_file()] == []
    listed = list(pdf.pages_in_order(book))
    assert listed[0] == "index.html"
    assert {f"{page}.html" for page in CHAPTERS} <= set(listed)


def test_the_book_is_printed_with_bookmarks(small_book, tmp_path):
    made = tmp_path / "small.pdf"
    # By the command, because Playwright does not run twice in one process.
    command = [sys.executable, "-m", "kexian_utils.commands.main", "pdf", "--out", str(made)]
    done = subprocess.run(
        command, cwd=small_book.parents[1], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert str(made) in done.stdout
    content = made.read_bytes()
    assert content.startswith(b"%PDF-")
    assert len(content) < 10_000_000
    assert b"/Outlines" in content
    heading = "Where\N{NO-BREAK SPACE}the\N{NO-BREAK SPACE}article".encode("utf-16-be")
    assert heading.hex().upper().encode() in content
    assert content.count(b"/Type /Page\n") > 15
    pages = [page.extract_text() for page in PdfReader(made).pages]
    entries = re.findall(r"^(\S.*\S) (\d+)$", pages[1], re.MULTILINE)
    assert len(entries) > 10
    for title, number in entries:
        words = pages[int(number) - 1].replace("\N{NO-BREAK SPACE}", " ").split()
        assert title.split()[0] in words[:8], (title, number)
    assert not (small_book / "_static/printed.html").exists()


def test_without_a_book_or_a_browser_nothing_is_printed(small_book, tmp_path, monkeypatch):
    with pytest.raises(KexianError, match="make html"):
        pdf.write_pdf(tmp_path, tmp_path / "x.pdf")
    monkeypatch.setenv("KEXIAN_CHROMIUM", str(tmp_path / "nothing"))
    with pytest.raises(KexianError, match="apt-get install -y chromium"):
        pdf.write_pdf(small_book, tmp_path / "x.pdf")
