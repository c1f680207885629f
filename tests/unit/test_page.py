"""What is mended on the text of a finished page."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def mend():
    path = ROOT / "book" / "_ext" / "kexian_page.py"
    spec = importlib.util.spec_from_file_location("kexian_page", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda page: module.mend(page, "index")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("kexian_utils.losses", "kexian_<wbr>utils.<wbr>losses"),
        ("data/ud/README.md", "data/<wbr>ud/<wbr>README.<wbr>md"),
        ("AttentionPooling1D", "Attention<wbr>Pooling1D"),
        ("short_name", "short_name"),
        ("plt.show(), then more", "plt.<wbr>show(), then more"),
    ],
)
def test_a_name_in_code_breaks_at_its_joints(mend, before, after):
    code = '<code class="literal"><span class="pre">{}</span></code>'
    assert mend(code.format(before)) == code.format(after)


def test_a_bare_number_says_what_it_is_of(mend):
    link = '<a class="external" href="https://kexue.fm/archives/{}"{}>{}</a>'
    named = link.format(8496, ' aria-label="Article 8496 of kexue.fm"', 8496)
    assert mend(link.format(8496, "", 8496)) == named
    for text in ("8497", "8496, part two", "the article"):
        assert mend(link.format(8496, "", text)) == link.format(8496, "", text)


def test_an_address_has_its_ampersands_once(mend):
    link = '<a href="https://example.org/?a=1{0}b=2{0}c=3">x</a> <code>&amp;amp;</code>'
    assert mend(link.format("&amp;amp;")) == link.format("&amp;")


def test_no_rule_of_the_styles_stands_inside_the_names_of_another():
    """A browser drops such a rule, and the other one with it, without a word."""
    text = (ROOT / "book" / "assets" / "kexian.css").read_text(encoding="utf-8")
    preludes = re.findall(r"([^{};]*)\{", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))
    assert len(preludes) > 200
    assert [p.strip() for p in preludes if "@" in p.strip()[1:] or p.strip().endswith(",")] == []
