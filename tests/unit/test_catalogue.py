"""The catalogue holds the 36 articles, and a broken one says what is wrong."""

import pytest

from kexian_utils import catalogue

ENTRY = """
[[part]]
id = "mathematics"
title = "Mathematics"
title_zh = "数学"

[[article]]
id = "7076"
part = "mathematics"
slug = "random-vector-angles"
date = 2019-11-13
title = "Angles"
title_zh = "夹角"
pillar = false
claims = ["C1", "C2"]
"""


def test_the_catalogue_is_complete():
    known = catalogue.load()
    assert len(known.articles) == 36
    assert len(known.parts) == 9
    assert [a.id for a in known.articles if a.pillar] == ["6992", "6906", "7476", "8444"]
    for article in known.articles:
        assert article.claims[0] == "C1"
        assert "_" not in article.slug
        assert article.url == f"https://kexue.fm/archives/{article.id}"


def test_selection_by_id_slug_part_and_all():
    known = catalogue.load()
    assert known.select("6992") == known.select("batch-normalization")
    assert {a.part for a in known.select("losses")} == {"losses"}
    assert known.select("all") == known.articles
    with pytest.raises(ValueError, match=r"nearest: .*6992.*A part"):
        known.select("6991")
    with pytest.raises(ValueError, match="the parts are mathematics"):
        known.part("maths")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('slug = "random-vector-angles"\n', "", "slug"),
        ('part = "mathematics"', 'part = "maths"', "unknown part 'maths'"),
        ('["C1", "C2"]', '["C1", "C1"]', "lists a claim twice"),
        ("[[article]]", "[[article", "cannot be read"),
    ],
)
def test_a_broken_catalogue_says_where(old, new, message):
    assert catalogue.parse(ENTRY).article("7076").claims == ("C1", "C2")
    with pytest.raises(ValueError, match=message):
        catalogue.parse(ENTRY.replace(old, new))


def test_an_id_used_twice_is_named():
    entry = ENTRY[ENTRY.index("[[article]]") :]
    with pytest.raises(ValueError, match="id used twice: 7076"):
        catalogue.parse(ENTRY + entry)
