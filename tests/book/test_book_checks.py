"""The checks turn red: each fault is planted in a small page of its own."""

from __future__ import annotations

import pytest
from checks import LOOKS, look_everywhere
from conftest import ROOT

pytestmark = pytest.mark.browser

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>x</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">{head}</head>
<body><main>{body}</main></body></html>"""
MATHJAX = '<script defer src="mathjax/mathjax.js"></script>'
DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


@pytest.fixture(scope="module")
def place(tmp_path_factory, serve):
    folder = tmp_path_factory.mktemp("planted")
    (folder / "mathjax").symlink_to(ROOT / "book/assets/mathjax")
    return folder, serve(folder)


def problems(browser, place, body, head=""):
    folder, address = place
    (folder / "page.html").write_text(PAGE.format(head=head, body=body), encoding="utf-8")
    return look_everywhere(browser, f"{address}/page.html", (*LOOKS, "formulas", "references"))


def test_a_sound_page_has_no_problem(browser, place):
    body = (
        f'<p>Text <span lang="zh">中文</span> <img alt="dot" src="{DOT}"></p>'
        '<span class="math">\\(x^2\\)</span>'
    )
    assert problems(browser, place, body, MATHJAX) == []


@pytest.mark.parametrize(
    ("words", "body", "head"),
    [
        ("foreign request", "x", '<script src="https://cdn.example.org/a.js"></script>'),
        ("foreign request", '<img alt="a" src="https://example.org/a.png">', ""),
        ("foreign request", "<script>fetch('https://example.org/beacon')</script>", ""),
        ("foreign request", "x", '<link rel="stylesheet" href="//example.org/font.css">'),
        ("404", '<img alt="a" src="missing.png">', ""),
        ("wide in a window", '<div style="width:2000px">x</div>', ""),
        ("clipped in width", '<p style="overflow:hidden;white-space:nowrap">' + "long " * 400, ""),
        ("clipped in height", '<p style="overflow:hidden;height:10px">a<br>b<br>c</p>', ""),
        (
            "goes on without a cue",
            '<div class="bd-article"><div style="overflow:auto"><table style="width:2000px"><tr>'
            "<td>x</table></div></div>",
            "",
        ),
        (
            "breaks inside a word",
            '<div class="bd-article" style="width:3em;overflow-wrap:anywhere">'
            "<code>vocabulary</code></div>",
            "",
        ),
        ("broken formula", '<span class="math">\\(a^b^c\\)</span>', MATHJAX),
        (
            "broken formula",
            '<div class="math">\\[\\begin{split}a\\tag{1}\\\\b\\end{split}\\]</div>',
            MATHJAX,
        ),
        (
            "begin at its left end",
            '<div class="math" style="display:flex;flex-direction:row-reverse;overflow:auto">'
            "\\[" + "x+" * 400 + "1\\tag{1}\\]</div>",
            MATHJAX,
        ),
        ("a formula is", '<div class="math">\\[' + "x+" * 400 + "1\\]</div>", MATHJAX),
        ("unknown command", '<span class="math">\\(\\nosuchthing x\\)</span>', MATHJAX),
        ("not rendered", '<span class="math">\\(x\\)</span>', ""),
        ("left as source", "<p>where $\\lambda x$ is</p>", ""),
        ("no alternative text", f'<img src="{DOT}">', ""),
        ("Chinese without lang", "<p>中文</p>", ""),
        ("contrast", '<p style="color:#999;background:#fff">pale</p>', ""),
        ("no link: (5)", '<div class="bd-article"><p>by (5)<p id="eq-5">x</div>', ""),
        ("no link: C2", '<div class="bd-article"><p>C2 says<p id="claim-c2">x</div>', ""),
        ("console", "<script>console.error('bad')</script>", ""),
        ("page error", "<script>nothing.there()</script>", ""),
    ],
)
def test_a_planted_fault_is_found(words, body, head, browser, place):
    found = problems(browser, place, body, head)
    assert any(words in problem for problem in found), found
