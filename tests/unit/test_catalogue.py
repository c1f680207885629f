"""The catalogue holds the 36 articles, and a broken one says what is wrong."""

import os
from pathlib import Path

import pytest

from kexian_utils import catalogue

ROOT = Path(__file__).resolve().parents[2]
PARTS = """
[[part]]
id = "mathematics"
title = "Mathematics"
title_zh = "数学"
chapters = ["random-vector-angles"]
"""
DESCRIPTOR = """
id = "7076"
date = 2019-11-13
title = "Angles"
title_zh = "夹角"
claims = ["C1", "C2", "C3"]

[budget]
smoke = 6
default = 12.5

[exemptions]
tolerance = 2

[rehearsal]
material = "generated"

[unplanted]
C2 = "a figure of the article"

[[mistake]]
claim = "C1"
find = "0.5 *"
replace = "0.25 *"
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


def test_every_descriptor_is_in_the_catalogue():
    listed = {article.descriptor_path for article in catalogue.load(ROOT).articles}
    found = {path.relative_to(ROOT) for path in (ROOT / "notebooks").glob("*/*.toml")}
    assert found == listed


def test_a_descriptor_is_read():
    article = catalogue.parse_article(DESCRIPTOR, "mathematics", "random-vector-angles")
    assert article.descriptor_path == Path("notebooks/mathematics/random-vector-angles.toml")
    assert article.claims == ("C1", "C2", "C3")
    assert not article.pillar
    assert article.budget == {"smoke": 6, "default": 12.5}
    assert article.exemptions == {"tolerance": 2}
    assert article.rehearsal == {"material": "generated"}
    assert article.unplanted.keys() == {"C2"}
    assert article.mistakes == (catalogue.Mistake("C1", "0.5 *", "0.25 *"),)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "7076"', "id = 7076", 'id must be the digits of the address, as "7076"; got 7076'),
        ('id = "7076"', "", "id is missing; it must be the digits"),
        ("2019-11-13", '"2019-11-13"', "date must be a date such as 2019-11-13, without quotes"),
        ("2019-11-13", "2019-11-13T10:00:00", "date must be a date"),
        ('title = "Angles"', 'title = " "', "title must be a text that is not empty"),
        ("title_zh", "title_cn", "unknown key 'title_cn'; did you mean 'title_zh'?"),
        ("title_zh", "zzz", "unknown key 'zzz'; it may hold id, date, title"),
        ('"C3"]', '"C1"]', 'claims must be ids such as "C1" in a list, each once'),
        ('"C3"]', '"c3"]', "claims must be ids"),
        ('["C1", "C2", "C3"]', "[]", "claims must be ids"),
        ("[budget]", "[budgets]", "unknown key 'budgets'; did you mean 'budget'?"),
        ("default = 12.5", "default = 400", "default must be CPU seconds between 0 and 90"),
        ("default = 12.5", "default = 0", "default must be CPU seconds"),
        ("default = 12.5", "", "[budget]: default is missing"),
        ("default =", "smoke-torch = 3\ndefault =", "'smoke-torch'; did you mean 'smoke-jax'"),
        ("default =", "smoke-jax = 31\ndefault =", "smoke-jax must be CPU seconds between 0"),
        ("tolerance = 2", "tolerance = -1", "[exemptions]: tolerance must be a whole number"),
        ("tolerance", "tolerances", "[exemptions]: unknown key 'tolerances'; did you mean 'tol"),
        ('"generated"', '["generated"]', "[rehearsal]: material must be a text, a number"),
        ("C2 =", "C9 =", "[unplanted]: there is no claim 'C9'; `claims` lists C1, C2, C3"),
        ('"a figure of the article"', '"why"', "[unplanted]: C2 must be a reason in words"),
        ("C2 =", "C1 =", "C1 has a planted mistake and stands under [unplanted]"),
        ("[[mistake]]", "[mistake]", "mistake must be tables, each under double brackets"),
        ('claim = "C1"', 'claims = "C1"', "1: unknown key 'claims'; did you mean 'claim'"),
        ('claim = "C1"', 'claim = "C7"', "[[mistake]] 1: there is no claim 'C7'"),
        ('find = "0.5 *"', 'find = ""', "[[mistake]] 1: find must be a text that is not empty"),
        ('"0.25 *"', '"0.5 *"', "[[mistake]] 1: the mistake for C1 changes nothing"),
        ("[budget]", "[budget", "cannot be read"),
    ],
)
def test_a_broken_descriptor_says_where_and_what_was_expected(old, new, message):
    assert DESCRIPTOR.count(old)
    broken = DESCRIPTOR.replace(old, new, 1)
    with pytest.raises(ValueError, match="^notebooks/mathematics/angles.toml") as raised:
        catalogue.parse_article(broken, "mathematics", "angles")
    assert message in str(raised.value)


@pytest.fixture
def project(tmp_path):
    (tmp_path / "notebooks" / "mathematics").mkdir(parents=True)
    (tmp_path / "notebooks" / "catalogue.toml").write_text(PARTS, encoding="utf-8")
    path = tmp_path / "notebooks" / "mathematics" / "random-vector-angles.toml"
    path.write_text(DESCRIPTOR, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("chapters =", "chapter =", r"\[\[part\]\] 1: unknown key 'chapter'; did you"),
        ('["random-vector-angles"]', '"x"', "chapters must be the slugs"),
        ("random-vector-angles", "angles", "there is no notebooks/mathematics/angles.toml"),
        ('title = "Mathematics"', "", "title is missing"),
        ('"]', '", "random-vector-angles"]', "id used twice|slug used twice"),
        ("[[part]]", "[[part", "cannot be read"),
    ],
)
def test_a_broken_catalogue_says_where(project, old, new, message):
    assert catalogue.load(project).article("7076").budget["smoke"] == 6
    (project / "notebooks" / "catalogue.toml").write_text(PARTS.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        catalogue.load(project)


def test_an_id_used_twice_is_named(project):
    folder = project / "notebooks" / "mathematics"
    (folder / "other.toml").write_text(DESCRIPTOR, encoding="utf-8")
    (project / "notebooks" / "catalogue.toml").write_text(
        PARTS.replace('"]', '", "other"]'), encoding="utf-8"
    )
    with pytest.raises(ValueError, match="id used twice: 7076"):
        catalogue.load(project)


def test_a_changed_descriptor_is_read_again(project):
    assert catalogue.load(project).article("7076").title == "Angles"
    path = project / "notebooks" / "mathematics" / "random-vector-angles.toml"
    path.write_text(DESCRIPTOR.replace("Angles", "Right angles"), encoding="utf-8")
    os.utime(path, ns=(1, 1))  # whatever the resolution of the clock
    assert catalogue.load(project).article("7076").title == "Right angles"
