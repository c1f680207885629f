import math

import nbformat
import pytest

from kexian_utils.runner.checks import compare
from kexian_utils.runner.checks.compare import (
    CLAIM_MIME,
    FIGURE_MIME,
    HEADLINE_MIME,
    RUN_MIME,
    Tolerance,
    compare_notebooks,
    json_difference,
    text_difference,
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("loss 0.1500", "loss 0.1501"),  # one unit in the last place
        ("ratio 14.97", "ratio 14.9701"),
        ("1437.25 images", "1437.26 images"),
        ("x = -0.25", "x = \u22120.25"),  # Unicode minus
        ("x = -0.0", "x = 0.0"),
        ("1.2e-05", "1.3e-05"),
        ("1.20e+05", "1.21E5"),
        ("steps 1,234,567", "steps 1234567"),
        ("31.8 %", "31.9 %"),
        ("31.8%", "31.9%"),
        ("| 9.99 | a |", "| 10.00 | a |"),
        ("[ 9.99  1.00]", "[10.00  1.00]"),
        ("9.99", "10"),  # three significant digits
        ("nan, inf, -inf", "nan, inf, -inf"),
        ("took 1.50s", "took 1.51s"),
        ("0.33\u20130.35", "0.33\u20130.36"),  # en dash of a range
        ("100000000", "100000001"),
        ("损失0.50", "损失0.51"),
        ("a  b\n", "a b"),
    ],
)
def test_text_within_tolerance(old, new):
    assert text_difference(old, new) is None
    assert text_difference(new, old) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("loss 0.1500", "loss 0.1502"),
        ("the largest", "the greatest"),
        ("3 of 3 seeds", "2 of 3 seeds"),
        ("C3 holds", "C4 holds"),
        ("float32", "float64"),
        ("conv3d_1.50", "conv3d_1.51"),
        ("keras 3.15.0", "keras 3.16.0"),
        ("x = -0.25", "x = 0.25"),
        ("x = \u22120.25", "x = 0.25"),
        ("1.2e-05", "1.2e-06"),
        ("1e+03", "1"),
        ("1e+03", "1e+04"),
        ("1,234,567", "1,235,567"),
        ("31.8 %", "32.0 %"),
        ("31.8 %", "31.8"),
        ("nan", "0.3"),
        ("inf", "-inf"),
        ("1.5", "1.5 2.5"),
        ("one\ntwo", "one two"),
        ("10⁻⁶", "10⁻⁷"),
        (r"$10^{-6}$", r"$10^{-7}$"),
        ("0.1", "0.19"),
        ("2026-11-21", "2026-11-22"),
        ("λ1 = 0.5", "λ2 = 0.5"),
    ],
)
def test_text_outside_tolerance(old, new):
    assert text_difference(old, new)
    assert text_difference(new, old)


def test_tolerance_can_be_widened_for_text_counts_and_json():
    wide = Tolerance(rtol=0.05)
    assert text_difference("189 steps, loss 0.150", "192 steps, loss 0.155", wide) is None
    assert text_difference("189 steps", "210 steps", wide)
    assert text_difference("189 steps", "189 stops", wide)
    assert json_difference({"a": [1.0, 2]}, {"a": [1.04, 2]}, wide) is None
    assert json_difference({"a": [1.0, 2]}, {"a": [1.06, 2]}, wide)
    assert text_difference("1e-16", "3e-16", Tolerance(atol=1e-12)) is None


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf])
def test_bad_tolerance_is_refused(bad):
    with pytest.raises(ValueError, match="rtol must be finite and not negative"):
        Tolerance(rtol=bad)
    with pytest.raises(TypeError, match="atol must be a number"):
        Tolerance(atol="0.1")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (1.0, 1.00005),
        (0.0, 1e-10),
        (math.nan, math.nan),
        (-math.inf, -math.inf),
        (3, 3.0),
        ({"b": 1, "a": [None, True]}, {"a": [None, True], "b": 1}),
    ],
)
def test_json_within_tolerance(old, new):
    assert json_difference(old, new) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (1.0, 1.001),
        (3, 4),
        (100000, 100001),
        (math.nan, 1.0),
        (math.inf, -math.inf),
        (True, 1),
        (None, 0.0),
        ([1.0], [1.0, 2.0]),
        ({"a": 1}, {"b": 1}),
        ("word", "ward"),
    ],
)
def test_json_outside_tolerance(old, new):
    assert json_difference(old, new)


def display(data, metadata=None):
    return nbformat.v4.new_output("display_data", data=data, metadata=metadata or {})


def notebook(outputs, tags=(), kexian=None, source="x"):
    cell = nbformat.v4.new_code_cell(source, outputs=outputs, id="cell", execution_count=1)
    cell.metadata.update({"tags": list(tags), **({"kexian": kexian} if kexian else {})})
    return nbformat.v4.new_notebook(cells=[cell])


def differences(old, new, **kwargs):
    return compare_notebooks(notebook(old, **kwargs), notebook(new, **kwargs))


CLAIM = {
    "schema": 1,
    "article": "6992",
    "claim": "C3",
    "sentence": "Centring helps.",
    "kind": "theorem",
    "verdict": "holds",
    "measured": [
        {"name": "ratio", "value": 14.97, "text": "15.0", "criterion": "between 14.77 and 15.77"}
    ],
    "study": None,
}


def claim(**changes):
    measured = {**CLAIM["measured"][0], **changes.pop("measured", {})}
    return [display({CLAIM_MIME: {**CLAIM, **changes, "measured": [measured]}})]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"verdict": "refuted"}, "verdict"),
        ({"kind": "empirical"}, "kind"),
        ({"sentence": "Centring hurts."}, "sentence"),
        ({"measured": {"criterion": "between 14.77 and 15.78"}}, "criterion"),
        ({"measured": {"value": 15.1}}, "outside its tolerance"),
        ({"measured": {"value": None}}, "value differs"),
        ({"measured": {"text": "15.7"}}, "outside its tolerance"),
        ({"measured": {"name": "quotient"}}, "what is measured"),
    ],
)
def test_claims_are_compared_by_words_and_value(changes, word):
    assert differences(claim(), claim(measured={"value": 14.9701})) == []
    found = differences(claim(), claim(**changes))
    assert found
    assert "C3" in found[0].what
    assert word in " ".join(entry.what for entry in found)


def run(**changes):
    record = {"schema": 1, "article": "6992", "phase": "start", "profile": "default", "seed": 0}
    record |= {"backend": "tensorflow", "versions": {"keras": "3"}, "wall_seconds": 1.5, **changes}
    return [display({RUN_MIME: record, "text/plain": "seed 0", "text/markdown": f"{changes}"})]


def test_run_records_are_compared_by_their_stable_fields():
    assert differences(run(), run(versions={"keras": "4"}, wall_seconds=9.0)) == []
    assert differences(run(), run(seed=1))[0].what == "run record: seed differs"


def digest(values, **changes):
    record = {"n": len(values), "finite": len(values), "min": min(values), "max": max(values)}
    mean = sum(values) / len(values)
    std = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
    return record | {"mean": mean, "std": std, "samples": values, "projection": [0.5] * 4} | changes


def figure(y, alt="A falling curve of the loss.", label="loss"):
    line = {"kind": "line", "label": label, "shape": [len(y)], "arrays": {"y": digest(y)}}
    record = {"schema": 1, "alt": alt, "caption": "c", "axes": [{"artists": [line]}]}
    data = {FIGURE_MIME: record, "image/png": "x"}
    return [display(data, {"image/png": {"alt": alt}})]


def test_figures_are_compared_by_their_arrays():
    assert differences(figure([0.0, 1.0, 2.0]), figure([1e-6, 1.0, 2.00001])) == []
    found = differences(figure([0.0, 1.0, 2.0]), figure([0.0, 1.01, 2.0]))
    assert found[0].what.startswith("figure: axes[0].artists[0].arrays.y")
    assert differences(figure([0.0, 1.0]), figure([0.0, 1.0, 2.0]))
    assert "label" in differences(figure([1.0]), figure([1.0], label="error"))[0].what
    assert (
        "alt"
        in differences(figure([1.0]), figure([1.0], alt="A rising curve of the loss."))[0].what
    )
    # A single value that changes between the samples moves the projection.
    one, other = digest([1.0, 2.0]), digest([1.0, 2.0], projection=[0.5, 0.5, 0.5, 0.51])
    assert "projection" in json_difference(one, other).what


def test_headline_is_skipped_but_must_be_there():
    head = [display({HEADLINE_MIME: {"text": None}, "text/plain": "placeholder"})]
    full = [display({HEADLINE_MIME: {"text": "5 times"}, "text/plain": "5 times"})]
    assert differences(head, full) == []
    assert differences(head, [])[0].what == "1 outputs became 0"


def test_missing_extra_and_other_outputs():
    stream = nbformat.v4.new_output("stream", name="stdout", text="a 0.50\n")
    chunks = [
        nbformat.v4.new_output("stream", name="stdout", text="a "),
        display({"text/plain": "b"}),
        nbformat.v4.new_output("stream", name="stdout", text="0.51\n"),
    ]
    assert differences([stream, display({"text/plain": "b"})], chunks) == []
    warning = nbformat.v4.new_output("stream", name="stderr", text="careful")
    assert differences([stream], [stream, warning])[0].what == "new output on stderr"
    assert differences([stream], [])[0].what == "missing output on stdout"
    assert (
        "types"
        in differences([display({"text/plain": "1"})], [display({"text/html": "1"})])[0].what
    )


def test_slider_data_in_html_are_compared_as_data():
    page = '<div id="s1"></div><script type="application/json">{"z": [%s, 2.0]}</script>'
    old = [display({"text/html": page % "1.0"})]
    assert differences(old, [display({"text/html": page % "1.00001"})]) == []
    found = differences(old, [display({"text/html": page % "1.1"})])
    assert found[0].what == "text/html: embedded data: z[0] is outside its tolerance"
    assert differences(old, [display({"text/html": (page % "1.0").replace("s1", "s2")})])


def test_exempt_and_widened_cells():
    old, new = [display({"text/plain": "1.00 s"})], [display({"text/plain": "1.04 s"})]
    assert differences(old, new)
    assert differences(old, new, tags=["nbval-ignore-output"], kexian={"reason": "time"}) == []
    own = {"rtol": 0.05, "reason": "trained"}
    assert differences(old, new, tags=["kexian-tolerance"], kexian=own) == []
    assert differences(old, new, kexian=own), "without the tag the metadata count for nothing"


def test_dropped_added_moved_and_changed_cells():
    cells = [nbformat.v4.new_markdown_cell(text, id=text) for text in ("one", "two", "three")]
    old = nbformat.v4.new_notebook(cells=cells)
    assert compare_notebooks(old, old) == []
    shorter = nbformat.v4.new_notebook(cells=cells[:1] + cells[2:])
    (found,) = compare_notebooks(old, shorter)
    assert (found.cell, found.cell_id, found.what) == (1, "two", "the cell was dropped")
    (found,) = compare_notebooks(shorter, old)
    assert (found.cell, found.what, found.new) == (1, "the cell was added", "two")
    assert len(compare_notebooks(old, nbformat.v4.new_notebook(cells=cells[::-1]))) == 4
    changed = nbformat.v4.new_markdown_cell("zwei", id="two")
    (found,) = compare_notebooks(old, nbformat.v4.new_notebook(cells=[cells[0], changed, cells[2]]))
    assert found.what == "the source differs"
    injected = nbformat.v4.new_code_cell("seed = 1")
    injected.metadata["tags"] = ["injected-parameters"]
    assert compare_notebooks(old, nbformat.v4.new_notebook(cells=[injected, *cells])) == []


def test_rendering_sets_old_beside_new():
    old = "first line\nthe loss is 0.5\nlast line"
    text = compare.CellDifference(3, "loss", "a number", old, old.replace("0.5", "0.7")).render()
    assert "cell 3 (loss): a number" in text
    (line,) = [line for line in text.splitlines() if line.startswith("*")]
    assert line.index("0.5") < line.index("|") < line.index("0.7")
    assert "stored 1   fresh 2" in compare.CellDifference(0, "", "x", "1", "2").render()


def chapter_on(processor, trained, exact, words="after training"):
    """A notebook whose run says on what processor it was, with a trained and an exact number."""
    own = {"tags": ["kexian-tolerance"], "kexian": {"rtol": 0.01, "reason": "trained"}}
    cells = [
        nbformat.v4.new_code_cell("start", id="start", outputs=run(processor=processor)),
        nbformat.v4.new_code_cell(
            "train", id="train", metadata=own,
            outputs=[display({"text/plain": f"{words} {trained} of 8, loss {trained / 10}"})],
        ),
        nbformat.v4.new_code_cell(
            "solve", id="solve", outputs=[display({"text/plain": f"root {exact}"})]
        ),
    ]  # fmt: skip
    return nbformat.v4.new_notebook(cells=cells)


def test_on_another_processor_trained_numbers_may_be_any_and_nothing_else():
    stored = chapter_on("x86_64 avx2 avx512f", 8, 0.25)
    here, there = "x86_64 avx2 avx512f", "x86_64 avx2"
    assert [d.cell_id for d in compare_notebooks(stored, chapter_on(here, 3, 0.25))] == ["train"]
    assert compare_notebooks(stored, chapter_on(there, 3, 0.25)) == []
    assert [d.cell_id for d in compare_notebooks(stored, chapter_on(there, 3, 0.35))] == ["solve"]
    other = chapter_on(there, 3, 0.25, words="before training")
    assert [d.cell_id for d in compare_notebooks(stored, other)] == ["train"]
    nan = chapter_on(there, math.nan, 0.25)
    assert [d.cell_id for d in compare_notebooks(stored, nan)] == ["train"]


def test_a_number_may_be_any_but_not_nan_or_infinite():
    any_number = Tolerance(any_number=True)
    assert json_difference({"a": [1, 2.5]}, {"a": [7, -3.0]}, any_number) is None
    for wrong in (math.nan, math.inf):
        assert json_difference(1.0, wrong, any_number)
        assert json_difference(wrong, 1.0, any_number)
    assert json_difference([1.0], [3.0, 2.0], any_number) is None
    assert json_difference([1.0], [1.0, math.nan], any_number)
    assert json_difference([1.0], [], any_number)
    assert json_difference(["a"], ["a", "b"], any_number)


def test_what_the_end_repeats_is_not_compared_twice_elsewhere():
    def ended(processor, number):
        notebook = chapter_on(processor, 3, 0.25)
        shown = [display({"text/markdown": f"| C1 | {number} |"})]
        last = nbformat.v4.new_code_cell("exp.finish()", id="finish", outputs=shown)
        return nbformat.v4.new_notebook(cells=[*notebook.cells, last])

    here, there = "x86_64 avx2 avx512f", "x86_64 avx2"
    assert compare_notebooks(ended(here, 10), ended(there, 9)) == []
    assert [d.cell_id for d in compare_notebooks(ended(here, 10), ended(here, 9))] == ["finish"]
