"""The picture of a reading: its cells, outlines and bars are the reading's own numbers."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from kexian_utils import plots
from kexian_utils.qa.decoding import extract_spans, vote
from kexian_utils.qa.features import match_features
from kexian_utils.qa.figures import reading_figure

QUESTION = "法国的首都是哪里？"
TEXTS = ["巴黎是法国的首都。", "德国的首都是柏林，法国在它西边。", "法国的首都巴黎很美。"]
SPANS = [(0, 2), (6, 8), (5, 7)]


def reading_of(texts, spans, seed=0):
    """A reading whose probabilities are noise, and high at one span of each passage."""
    rng = np.random.default_rng(seed)
    passages = []
    for number, (text, span) in enumerate(zip(texts, spans, strict=True)):
        start, end = 0.08 * rng.random((2, len(text)))
        if span:
            start[span[0]] = end[span[1] - 1] = 0.9 - 0.07 * number
        own = extract_spans(start, end, text)
        passages.append(SimpleNamespace(text=text, p_start=start, p_end=end, candidates=own,
                                        span=span, answerable=0.9 - 0.05 * number))  # fmt: skip
    answer, votes = vote([passage.candidates for passage in passages])
    for passage in passages:
        if answer not in passage.candidates:
            passage.span = None
    return SimpleNamespace(
        answer=answer, score=votes.get(answer, 0.0), votes=votes, passages=tuple(passages)
    )


@pytest.fixture(scope="module")
def reading():
    return reading_of(TEXTS, SPANS)


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def meshes(figure):
    """Edges (x, y) and values of each row of cells, without the scales."""
    found = []
    for mesh in figure.axes[0].collections:
        corners = mesh.get_coordinates()
        if mesh.get_array().size != 50:
            found.append((corners[0, :, 0], corners[:, 0, 1], np.ravel(mesh.get_array())))
    return found


def outlines(figure):
    return [p for p in figure.axes[0].patches if isinstance(p, Rectangle) and not p.get_fill()]


def bars(figure, colour):
    return [p for p in figure.axes[0].patches if p.get_fill() and p.get_facecolor()[:3] == colour]


WINNER, OTHER = to_rgb(plots.PALETTE[1]), to_rgb(plots.PALETTE[0])


def test_cells_are_features_gates_start_and_end_in_this_order(reading):
    features = match_features(QUESTION, TEXTS)
    gates = [np.random.default_rng(n).random((6, len(text))) for n, text in enumerate(TEXTS)]
    figure = reading_figure(QUESTION, reading, features=features, gates=gates)
    want = []
    for passage, own, open_ in zip(reading.passages, features, gates, strict=True):
        want += [*own.T, *open_, passage.p_start, passage.p_end]
    found = meshes(figure)
    assert len(found) == len(want) == 3 * (5 + 6 + 2)
    for (_, _, values), expected in zip(found, want, strict=True):
        np.testing.assert_allclose(values, expected)
    heights = [y[0] for _, y, _ in found]
    assert heights == sorted(heights)
    plain = meshes(reading_figure(QUESTION, reading))
    assert len(plain) == 6


def test_scales_tell_the_colours(reading):
    """The colour of a cell is that at its value's place in the scale that stands below."""
    figure = reading_figure(QUESTION, reading, features=match_features(QUESTION, TEXTS))
    every = figure.axes[0].collections
    linear, root = [mesh for mesh in every if mesh.get_array().size == 50]
    start = next(m for m in every if np.array_equal(np.ravel(m.get_array()),
                                                    reading.passages[0].p_start))  # fmt: skip
    for cells, scale in ((every[0], linear), (start, root)):
        assert cells.cmap.name == scale.cmap.name == plots.SEQUENTIAL
        values = np.array([0.0, 0.1, 0.5, 1.0])
        np.testing.assert_allclose(cells.norm(values), scale.norm(values))
    np.testing.assert_allclose(root.norm(np.array([0.01, 0.25])), [0.1, 0.5])
    np.testing.assert_allclose(linear.norm(np.array([0.01, 0.25])), [0.01, 0.25])


def test_characters_stand_above_their_cells_and_the_answer_is_outlined(reading):
    figure = reading_figure(QUESTION, reading)
    single = [
        t for t in figure.axes[0].texts if len(t.get_text()) == 1 and t.get_text() not in "01"
    ]
    assert "".join(t.get_text() for t in single) == "".join(TEXTS)
    middles = np.concatenate([(x[1:] + x[:-1]) / 2 for x, _, _ in meshes(figure)[::2]])
    np.testing.assert_allclose([t.get_position()[0] for t in single], middles)
    found = outlines(figure)
    assert len(found) == 2  # of passages 1 and 3
    for box in found:
        left, right = box.get_x(), box.get_x() + box.get_width()
        top, bottom = box.get_y(), box.get_y() + box.get_height()
        inside = [
            t.get_text() for t in single
            if left < t.get_position()[0] < right and top < t.get_position()[1] < bottom
        ]  # fmt: skip
        assert "".join(inside) == reading.answer == "巴黎"


def test_an_answer_that_goes_over_the_end_of_a_line_has_two_outlines():
    reading = reading_of(["一二三四五六七八"], [(2, 6)])
    figure = reading_figure("几？", reading, columns=4)
    assert [box.get_width() for box in outlines(figure)] == pytest.approx(
        [2 * (meshes(figure)[0][0][1] - meshes(figure)[0][0][0])] * 2
    )


def test_bars_are_the_global_scores_and_the_votes(reading):
    figure = reading_figure(QUESTION, reading)
    grey = [p for p in figure.axes[0].patches if p.get_fill()
            and p.get_facecolor()[:3] not in (WINNER, OTHER)]  # fmt: skip
    blue = bars(figure, OTHER)
    shares = [b.get_height() / g.get_height() for b, g in zip(blue, grey, strict=False)]
    assert shares == pytest.approx([p.answerable for p in reading.passages])
    votes = [bars(figure, WINNER)[1], *blue[3:]]  # the first stands before the answer
    assert len(votes) == len(reading.votes) == 2
    widths = np.array([bar.get_width() for bar in votes])
    values = np.array(list(reading.votes.values()))
    np.testing.assert_allclose(widths / values, widths[0] / values[0])
    assert f"{values[0]:.3g}" in texts(figure)


def test_further_candidates_and_passages_are_counted():
    names = ["甲乙", "丙丁", "戊己", "庚辛", "壬癸", "子丑", "寅卯"]
    given = [f"说是{name}。" for name in names] + ["说是甲乙。", "没有说。"]
    reading = reading_of(given, [(2, 4)] * 8 + [None])
    figure = reading_figure("谁？", reading)
    found = texts(figure)
    shown = [text for text in found if text.startswith("passage ")]
    assert shown == [f"passage {n}" for n in (1, 2, 3, 4, 5, 8)]  # 8 votes for the winner
    assert "3 more passages propose: other answers (2), nothing (1)" in found
    assert "2 more candidates" in found
    few = texts(reading_figure("谁？", reading, shown=1))
    assert "8 more passages propose: 甲乙 (1), other answers (6), nothing (1)" in few
    most = texts(reading_figure("谁？", reading, shown=8))
    assert "1 more passage proposes: nothing (1)" in most


def test_a_long_passage_is_cut_around_the_answer():
    text = "".join(chr(0x4E00 + n) for n in range(300))
    for span in ((0, 2), (150, 155), (297, 300)):
        figure = reading_figure("谁？", reading_of([text], [span]), columns=10, lines=2)
        written = "".join(t for t in texts(figure) if len(t) == 1 and t not in "01…")
        assert len(written) == 20
        assert text[slice(*span)] in written
        assert written in text
        assert texts(figure).count("…") == (2 if span == (150, 155) else 1)
    quiet = reading_of([text], [None])
    quiet.passages[0].p_start[200] = 0.09
    assert text[200] in texts(reading_figure("谁？", quiet, columns=10, lines=1))


def luminance(colour):
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return np.dot([0.2126, 0.7152, 0.0722], parts)


NASTY = ["a $x_1$ \\frac\n{b}\t", "", "😀" * 30, "Ａ" * 200, "e\u0301\u200d\ud800"]


@pytest.mark.parametrize("case", ["usual", "nasty", "none", "long"])
def test_everything_is_within_the_page_and_can_be_read(reading, case):
    if case == "nasty":
        reading = reading_of(NASTY, [None, None, None, (3, 9), None])
    elif case == "none":
        reading = SimpleNamespace(answer="", score=0.0, votes={}, passages=())
    elif case == "long":
        many = [f"{n:02d}" + "字" * 40 for n in range(9)]
        reading = reading_of(many, [(0, 12)] * 9)
    question = "为什么 $ 这么长？" * 20 if case == "long" else QUESTION
    own = [passage.text for passage in reading.passages]
    gates = [np.full((6, len(text)), 0.5) for text in own]
    figure = reading_figure(
        question,
        reading,
        features=match_features(QUESTION, own),
        gates=gates,
        title="A title" if case == "long" else None,
    )
    figure.set_dpi(plots.CSS_DPI)
    assert figure.get_figwidth() * plots.CSS_DPI == pytest.approx(plots.WIDTH)
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with warnings.catch_warnings():
        warnings.filterwarnings("error" if case != "nasty" else "ignore", message=".*[Gg]lyph.*")
        FigureCanvasAgg(figure).draw()
        for text in figure.axes[0].texts:
            box = text.get_window_extent()
            assert box.x0 >= 0, text
            assert box.x1 <= plots.WIDTH, text
            assert box.y0 >= 0, text
            assert box.y1 <= figure.get_figheight() * plots.CSS_DPI, text
            contrast = 1.05 / (luminance(text.get_color()) + 0.05)
            assert contrast >= 4.5, text
    if not reading.answer:
        assert "no passage proposes an answer" in texts(figure)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": [np.zeros((3, 5))]}, "features must have an array for each of the 3"),
        ({"features": [np.zeros((3, 5))] * 3}, r"features\[0\] must have shape \(9, 5\), got"),
        ({"gates": [np.zeros(9)] * 3}, r"gates\[0\] must have shape \(layers, 9\), got \(9,\)"),
        ({"gates": [np.full((2, 9), np.nan)] * 3}, r"gates\[0\] must lie between 0 and 1"),
        ({"shown": 0}, "shown must be a whole number of at least 1, got 0"),
        ({"columns": 3}, "columns must be a whole number of at least 4, got 3"),
        ({"lines": True}, "lines must be a whole number of at least 1, got True"),
    ],
)
def test_bad_input(reading, options, message):
    with pytest.raises(ValueError, match=message):
        reading_figure(QUESTION, reading, **options)


@pytest.mark.parametrize("suffix", [".svg", ".png", ".PDF"])
def test_files_are_complete_and_always_the_same(reading, tmp_path, suffix):
    contents = []
    for number in range(2):
        path = tmp_path / f"{number}{suffix}"
        plots.save_figure(lambda: reading_figure(QUESTION, reading), path)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    begins = {".svg": b"<?xml", ".png": b"\x89PNG", ".PDF": b"%PDF"}[suffix]
    assert contents[0].startswith(begins)
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(ValueError, match=r"must end in \.svg, \.png, \.pdf"):
        plots.save_figure(lambda: None, tmp_path / "a.jpg")
