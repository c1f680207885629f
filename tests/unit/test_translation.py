"""The Chinese edition's messages, catalogues and notebooks."""

import copy
import json
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pseudo_chinese

from kexian_utils import catalogue
from kexian_utils.commands.main import main
from kexian_utils.errors import KexianError
from kexian_utils.mime import CLAIM_MIME, FIGURE_MIME, HEADLINE_MIME
from kexian_utils.runner.execution.files import read_notebook
from kexian_utils.runner.translation import catalog, edition, messages, project
from kexian_utils.runner.translation.catalog import Found, Words
from kexian_utils.runner.translation.style import has_han, literal_asterisks, tidy

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "book").glob("*.md"), *(ROOT / "book" / "parts").glob("*.md")])
CHAPTER = ROOT / "notebooks" / "mathematics" / "random-vector-angles.ipynb"


def one_line(text):
    return " ".join(text.split())


@pytest.fixture(scope="module")
def chapter():
    return read_notebook(CHAPTER)


@pytest.fixture(scope="module")
def chinese(chapter):
    return edition.translated(chapter, pseudo_chinese.translate)


# -- messages -------------------------------------------------------------------------------------


def texts():
    yield from ((path.name, path.read_text(encoding="utf-8")) for path in PAGES)
    for article in catalogue.load(ROOT).articles:
        if (ROOT / article.path).is_file():
            for cell in read_notebook(ROOT / article.path)["cells"]:
                if cell["cell_type"] == "markdown":
                    yield f"{article.id} {cell['id']}", cell["source"]


def test_without_a_translation_every_text_of_the_book_stays_as_it_is():
    for name, text in texts():
        assert one_line(messages.translate(text, lambda message: None)) == one_line(text), name


def test_what_is_no_prose_is_no_message():
    text = (
        "## 2. A title\n\n```python\nprint('code')\n```\n\n$$\\begin{equation*}\nx\\text{ is}\n"
        "\\end{equation*}$$\n\n<!-- references: a b -->\n- A work.\n<!-- /references -->\n\n"
        "| a head | $x$ |\n|---|:-:|\n| `code` | 3.2 |\n\n<details><summary>Solution</summary>\n\n"
        "1. first\n   goes on\n2. second\n\n</details>"
    )
    found = [block.text for block in messages.blocks(text) if messages.needs_words(block.text)]
    assert found == ["A title", "| a head | $x$ |", "Solution", "first goes on", "second"]


def test_a_list_in_a_directive_and_the_chapters_to_begin_with_are_messages():
    text = (
        "```{list-table}\n:header-rows: 1\n\n* - Symbol\n  - Meaning\n* - $x$\n  -\n```\n\n"
        "<!-- kexian:start\n7076: Pure mathematics.\n-->\n"
    )
    made = messages.translate(text, {"Meaning": "含义", "Pure mathematics.": "纯数学。"}.get)
    assert "  - 含义\n* - $x$\n  -\n```" in made
    assert "7076: 纯数学。\n-->" in made


def test_slots_hold_what_a_run_fills_in_and_nothing_else():
    text = "On 2026-11-30, C3: **1,024** of $10^5$ fell by −0.5 % in `f(3)`, float32, to 1e-05."
    message, numbers = messages.with_slots(text)
    assert numbers == ["2026-11-30", "C3", "1,024", "−0.5", "1e-05"]
    assert "$10^5$" in message
    assert "`f(3)`, float32" in message
    assert messages.fill(message, numbers) == text
    assert messages.with_slots(text.replace("1,024", "3"))[0] == message


# -- what must be the same ------------------------------------------------------------------------

MESSAGE = "By (2) and C3, [$x>0$](a.html) is `f` in {1} of 5 cases, $y=-1$."
GOOD = "由 (2) 和 C3，5 个例子中有 {1} 个 [$x>0$](a.html) 是 `f`，$y=-1$。"


def standing(string, message=MESSAGE, terms=()):
    known = catalog.Catalog(locale="zh_CN", fuzzy=False)
    known.add(message, string, locations=[("cell", None)])
    return catalog.problems(known, terms)


def test_a_good_translation_is_let_through():
    assert standing(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("$y=-1$", "$y=1$", "lacks $y=-1$"),  # a sign
        ("5 个", "6 个", "lacks 5"),  # a digit
        ("，$y=-1$", "", "lacks $y=-1$"),  # a dropped formula
        ("`f`", "f", "lacks `f`"),
        ("a.html", "b.html", "has ](b.html)"),
        ("{1}", "{2}", "lacks {1}"),
        ("C3", "C4", "lacks C3"),
        ("(2)", "(3)", "has (3)"),
        ("，$y", ",$y", "is not set by the convention"),
        ("和 C3", "和C3", "is not set by the convention"),
    ],
)
def test_a_planted_change_is_found(old, new, word):
    assert old in GOOD
    assert word in " ".join(standing(GOOD.replace(old, new)))


def test_one_term_for_one_notion():
    terms = [("critic", ("判别器",))]
    assert standing("两个判别器。", "Two critics.", terms) == []
    assert "without 判别器" in standing("两个评论家。", "Two critics.", terms)[0]
    assert standing("这很关键。", "It is critical.", terms) == []


def test_what_is_missing_fuzzy_or_english_is_named():
    assert standing("") == [f"cell: missing: {MESSAGE}"]
    assert "no Chinese" in standing("The same.", "The same words.")[0]
    known = catalog.Catalog(locale="zh_CN", fuzzy=False)
    known.add("One.", "一。", flags=["fuzzy"], locations=[("cell", None)])
    assert catalog.problems(known) == ["cell: fuzzy: One."]


# -- how it is set --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("由(2)得 $x=1$,故损失为0.5 .", "由 (2) 得 $x=1$，故损失为 0.5。"),
        ("见[这里](a.html)的**C3**；用`relu`激活(即截断)",
         "见[这里](a.html)的 **C3**；用 `relu` 激活（即截断）"),
        ("令 $f$ 为一个网络,$g$ 为另一个。", "令 $f$ 为一个网络，$g$ 为另一个。"),
        ("最好为 0.25,最差为1,024。", "最好为 0.25，最差为 1,024。"),
        ("| 规则 | 模式数,一半 |", "| 规则 | 模式数，一半 |"),
        ("见 [Su, 2019](https://x) 。", "见 [Su, 2019](https://x)。"),
        ("**图 1.** 损失 (1) 的值, 见 C3.", "**图 1.** 损失 (1) 的值，见 C3。"),
        ("不用 Keras 3 的 `LSTM` 层: 更快!", "不用 Keras 3 的 `LSTM` 层：更快！"),
        ("Nothing Chinese, here.", "Nothing Chinese, here."),
    ],
)  # fmt: skip
def test_the_convention(given, expected):
    assert tidy(given) == expected
    assert tidy(expected) == expected


# -- catalogues -----------------------------------------------------------------------------------


def test_a_changed_message_keeps_its_translation_marked(tmp_path):
    path = tmp_path / "1.po"
    old = Found("The loss falls slowly with the number of steps.", "a")
    catalog.write(catalog.updated(catalog.read(path), [old]), path)
    known = catalog.read(path)
    known.get(old.text).string = "损失随步数缓慢下降。"
    catalog.write(known, path)
    new = Found("The loss falls quickly with the number of steps.", "a")
    catalog.write(catalog.updated(catalog.read(path), [new, Found("Another.", "b")]), path)
    text = path.read_text(encoding="utf-8")
    assert '#| msgid "The loss falls slowly' in text, "the old text stands beside"
    again = catalog.read(path)
    assert Words([again])(new.text) is None, "a fuzzy one does not count"
    assert [line.split(": ")[1] for line in catalog.problems(again)] == ["fuzzy", "missing"]
    back = catalog.updated(again, [old])
    assert "慢" in str(back.get(old.text).string)


def test_a_damaged_catalogue_is_named(tmp_path):
    path = tmp_path / "1.po"
    path.write_bytes(b'msgid "a\nmsgstr \xff')
    with pytest.raises(KexianError, match=r"1\.po is no readable PO file"):
        catalog.read(path)


def test_a_damaged_glossary_is_named(tmp_path):
    path = tmp_path / project.LOCALE / "glossary.tsv"
    path.parent.mkdir(parents=True)
    path.write_text("# terms\ncritic\t判别器\nlonely\n", encoding="utf-8")
    with pytest.raises(KexianError, match="line 3"):
        project.glossary(tmp_path)


# -- notebooks ------------------------------------------------------------------------------------


def test_code_and_results_are_the_same_and_the_words_are_not(chapter, chinese):
    assert len(chapter.cells) == len(chinese.cells)
    for old, new in zip(chapter.cells, chinese.cells, strict=True):
        assert old.id == new.id
        if old.cell_type == "code":
            assert old.source == new.source
            for before, after in zip(old.outputs, new.outputs, strict=True):
                _same_output(before, after)
        elif messages.needs_words(old.source.split("\n")[0]):
            assert has_han(new.source)


def _same_output(before, after):
    old, new = before.get("data", {}), after.get("data", {})
    assert set(old) == set(new)
    if "image/png" in old:
        assert old["image/png"] == new["image/png"]
        assert has_han(after["metadata"]["image/png"]["alt"])
        assert has_han(new[FIGURE_MIME]["alt"])
    if CLAIM_MIME in old:
        kept = ("claim", "kind", "verdict", "equation", "needs", "seed")
        assert [old[CLAIM_MIME][k] for k in kept] == [new[CLAIM_MIME][k] for k in kept]
        values = [[part["value"] for part in data[CLAIM_MIME]["measured"]] for data in (old, new)]
        assert values[0] == values[1]
        assert has_han(new[CLAIM_MIME]["sentence"])
    for kind in ("text/markdown",):
        if kind in old and CLAIM_MIME not in old:
            first, second = (messages.with_slots(data[kind])[1] for data in (old, new))
            assert sorted(first) == sorted(second)
    if HEADLINE_MIME in old:
        assert has_han(new[HEADLINE_MIME]["text"])


def test_what_has_no_translation_is_marked(chapter):
    made = edition.translated(chapter, lambda message: None)
    assert made.cells[0].source.startswith(f"# {edition.MARK}")
    table = made.cells[-1].outputs[0]["data"]["text/markdown"]
    assert f"| C1<br>theorem | {edition.MARK}" in table


def test_each_message_that_is_asked_for_is_extracted(chapter):
    known = {one.text for one in edition.extracted(chapter)}
    asked = set()
    edition.translated(chapter, lambda message: asked.add(message))
    assert asked == known


def test_another_number_of_a_run_needs_no_new_translation(chapter):
    known = {one.text for one in edition.extracted(chapter)}
    other = copy.deepcopy(chapter)
    moved = 0
    for cell in other.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "text/markdown" in data and CLAIM_MIME not in data:
                text = data["text/markdown"]
                data["text/markdown"] = text.replace("7.22", "7.31")
                moved += text != data["text/markdown"]
    assert moved
    assert {one.text for one in edition.extracted(other)} == known


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout with one chapter and no catalogue."""
    for path in (CHAPTER, CHAPTER.with_suffix(".toml"), ROOT / "notebooks" / "catalogue.toml"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    for path in (ROOT / "notebooks").rglob("*.toml"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    shutil.copytree(ROOT / "book" / "parts", tmp_path / "book" / "parts")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words):
    return CliRunner().invoke(main, ["translate", *words])


def test_the_command_says_what_is_to_do_and_checks_it(root):
    assert call("all", "--check").exit_code == 1
    assert not (root / project.LOCALE).exists(), "--check writes nothing"
    done = call("all")
    assert done.exit_code == 0
    assert "7076: " in done.output
    for path in (root / project.LOCALE).glob("*.po"):
        pseudo_chinese.fill(path)
    checked = call("all", "--check")
    assert checked.exit_code == 0, checked.output
    target = root / "zh.ipynb"
    assert call("7076", "--notebook", str(target)).exit_code == 0
    made = json.loads(target.read_text(encoding="utf-8"))
    assert made["metadata"]["language"] == "zh-CN"
    assert "".join(made["cells"][0]["source"]).startswith("# 文文")
    assert edition.MARK not in target.read_text(encoding="utf-8")


def test_a_changed_sentence_is_named_until_it_is_translated(root):
    call("all")
    for path in (root / project.LOCALE).glob("*.po"):
        pseudo_chinese.fill(path)
    page = root / "book" / "parts" / "mathematics.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(text + "\nOne more sentence, quite new.\n", encoding="utf-8")
    checked = call("all", "--check")
    assert checked.exit_code == 1
    assert "pages: parts/mathematics.md: missing: One more sentence, quite new." in checked.output


def test_a_notebook_is_of_one_chapter(root):
    done = call("all", "--notebook", str(root / "x.ipynb"))
    assert done.exit_code == 2
    assert "name one by its id" in done.output


def test_a_notebook_that_is_there_is_not_overwritten(root, tmp_path):
    path = tmp_path / "mine.ipynb"
    path.write_text("mine", encoding="utf-8")
    done = call("7076", "--notebook", str(path))
    assert done.exit_code == 2
    assert "exists; choose another name" in done.output
    assert path.read_text(encoding="utf-8") == "mine"


def test_sections_take_the_names_of_the_original_at_once(tmp_path):
    """A Chinese section, a title's too, may have had the name that another one is to get."""
    from kexian_utils.runner.pages.chinese import same_places

    english, chinese = tmp_path / "en", tmp_path / "zh"
    for folder, names in ((english, ("a", "b", "c")), (chinese, ("b", "id1", "a"))):
        folder.mkdir()
        sections = "".join(
            f'<section{kind} id="{n}"><a href="#{n}">x</a></section>'  # each leads to itself
            for n, kind in zip(names, (' class="of the title"', "", ""), strict=True)
        )
        (folder / "page.html").write_text(sections, encoding="utf-8")
    same_places(english, chinese)
    text = (chinese / "page.html").read_text(encoding="utf-8")
    assert text == (english / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("**概要。**人们", "**概要**。人们"),
        ("**第 1 步。形式。**它", "**第 1 步。形式**。它"),
        ("叫**《科学》**的", "叫《**科学**》的"),
        ("AdaX **就是**梯度", "AdaX **就是**梯度"),
        ("对**任何** $x$ 成立", "对**任何** $x$ 成立"),
        ("**膨胀率 1、3、9、……**从", "**膨胀率 1、3、9**、……从"),
    ],
)
def test_emphasis_is_seen(given, expected):
    made = tidy(given)
    assert made == expected == tidy(made)
    assert not literal_asterisks(made)


def test_emphasis_that_is_not_seen_is_named():
    assert literal_asterisks("**概要。**人们")
    assert any("asterisks" in line for line in standing("**说明：****(a)**将", "**Note.** Put it."))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("<p>这一步 is not 多余的。</p>", "is"),
        ("<p>在 the 末尾</p>", "the"),
        (r"<p>设 \(x \text{ is odd}\)，即“the odd one”（Drucker and LeCun）</p>", None),
        ("<p>part of speech（词性）</p>", None),
        ("<p>用 <code>x is y</code> 判断 top-1</p>", None),
    ],
)
def test_english_amid_chinese_is_named(text, word):
    from kexian_utils.runner.pages.chinese import Interface

    interface = Interface(lambda message: None, {"part of speech", "top"})
    assert interface.page(text, "page.html") == text
    named = [line.partition(" amid ")[0] for line in interface.unknown]
    assert named == ([repr(word)] if word else [])
