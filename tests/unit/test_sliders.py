import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from kexian_utils import sliders


def circles(radius=1.0):
    """A bowl around 0 whose contour at level 1 is a circle of the slider's radius."""
    grid = np.linspace(-3, 3, 61)

    def frames(radius):
        x, y = np.meshgrid(grid, grid)
        return {
            "bowl": {
                "x": grid,
                "y": grid,
                "z": (x**2 + y**2) / radius**2,
                "lines": [{"x": [0, radius], "y": [0, 0], "label": "radius", "markers": True}],
            },
            "curve": {"lines": [{"x": [0, 1, 2], "y": [1, 10, 100]}]},
            "numbers": {"radius": f"{radius:.1f}"},
        }

    return {
        "sliders": [{"name": "radius", "label": "radius r", "min": 1, "max": 2, "steps": 5}],
        "panels": [
            {
                "name": "bowl",
                "kind": "contours",
                "xlim": (-3, 3),
                "ylim": (-3, 3),
                "xlabel": "x",
                "ylabel": "y",
                "levels": [1.0],
            },
            {
                "name": "curve",
                "kind": "lines",
                "xlim": (0, 2),
                "ylim": (1, 100),
                "yscale": "log",
            },
            {"name": "numbers", "kind": "text"},
        ],
        "frames": frames,
    }


def data_of(page):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.S)[1])


def points(deltas):
    return np.cumsum(np.reshape(deltas, (-1, 2)), axis=0)


def test_contours_are_the_circles_that_they_should_be():
    page, _ = sliders.build(circles(), alt="A circle grows.")
    data = data_of(page)
    assert len(data["frames"]) == 5
    for radius, frame in zip(np.linspace(1, 2, 5), data["frames"], strict=True):
        (polyline,) = frame[0]["levels"][0]
        at = points(polyline) / data["unit"] * 6 - 3
        assert np.hypot(at[:, 0], at[:, 1]) == pytest.approx(radius, abs=0.02)
        assert frame[2] == [f"{radius:.1f}"]


def test_a_straight_line_on_a_log_axis_keeps_only_its_ends():
    page, _ = sliders.build(circles(), alt="A circle grows.")
    data = data_of(page)
    line = points(data["frames"][0][1]["lines"][0]["p"])
    assert line.tolist() == [[0, 0], [data["unit"], data["unit"]]]


def test_the_page_is_self_contained_and_repeats_itself():
    figure, ax = plt.subplots()
    ax.plot([0, 1])
    page, digest = sliders.build(circles(), alt='A "circle" grows <slowly>.', fallback=figure)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert "&quot;circle&quot;" in page
    assert page.count("<img") == 1
    figure, ax = plt.subplots()
    ax.plot([0, 1])
    assert sliders.build(circles(), alt='A "circle" grows <slowly>.', fallback=figure) == (
        page,
        digest,
    )


def test_the_digest_moves_with_the_data():
    _, digest = sliders.build(circles(), alt="A circle grows.")
    spec = circles()
    inner = spec["frames"]

    def moved(radius):
        frame = inner(radius)
        frame["bowl"]["z"] = frame["bowl"]["z"] * 1.01
        return frame

    _, other = sliders.build({**spec, "frames": moved}, alt="A circle grows.")
    names = [artist["label"] for artist in digest["axes"][0]["artists"]]
    assert names[0] == "bowl.z"
    assert digest["axes"][0]["artists"][0] != other["axes"][0]["artists"][0]
    assert digest["axes"][0]["artists"][1:] == other["axes"][0]["artists"][1:]


def test_a_colour_that_is_not_there_is_named():
    spec = circles()
    line = {"x": [0, 1], "y": [1, 1], "color": 6}
    spec["frames"] = lambda radius: {**circles()["frames"](radius), "curve": {"lines": [line]}}
    with pytest.raises(ValueError, match="color must be one of 0 to 5, got 6"):
        sliders.build(spec, alt="A circle grows.")


def test_text_cannot_end_the_script():
    spec = circles()
    inner = spec["frames"]
    spec["frames"] = lambda radius: {**inner(radius), "numbers": {"r": "</script><b>"}}
    page, _ = sliders.build(spec, alt="A circle grows.")
    assert data_of(page)["frames"][0][2] == ["</script><b>"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"sliders": []}, ValueError, "1 to 3"),
        ({"sliders": [{"name": "a b"}]}, ValueError, "identifier"),
        ({"sliders": [{"name": "a", "min": 0}]}, ValueError, "lacks"),
        ({"sliders": [{"name": "r", "values": [0, np.nan]}]}, ValueError, "finite"),
        ({"panels": [{"name": "p", "kind": "pie"}]}, ValueError, "kind"),
        ({"panels": [{"name": "p", "kind": "lines", "xlim": (1, 0)}]}, ValueError, "increase"),
        ({"frames": None}, TypeError, "callable"),
        ({"frames": lambda radius: {}}, ValueError, "lacks the panel"),
    ],
)
def test_bad_specs_are_named(change, error, words):
    with pytest.raises(error, match=words):
        sliders.build({**circles(), **change}, alt="A circle grows.")


def test_alt_is_required():
    with pytest.raises(ValueError, match="alt"):
        sliders.build(circles(), alt=" ")


def test_a_heavy_figure_is_refused():
    spec = circles()
    spec["sliders"] = [{"name": "radius", "min": 1, "max": 2, "steps": 2}]
    spec["frames"] = lambda radius: {**circles()["frames"](radius), "numbers": {"r": "x" * 200_000}}
    with pytest.raises(ValueError, match="300000"):
        sliders.build(spec, alt="A circle grows.")


def heat(z=None, **panel):
    values = np.array([[0.0, 0.25], [0.5, 1.0], [0.126, 0.0]])
    entry = {"name": "map", "kind": "heat", "rows": ["a", "b", "c"], "columns": ["x", "y"]}
    return {
        "sliders": [{"name": "t", "values": [0, 1], "format": "{:.0f}"}],
        "panels": [entry | panel],
        "frames": lambda t: {"map": {"z": (1 - t) * values if z is None else z}},
    }


def test_heat_panels_hold_the_matrix_row_by_row_and_the_names_at_the_cells():
    page, digest = sliders.build(heat(), alt="a matrix")
    data = data_of(page)
    assert data["frames"][0][0] == {"heat": [0, 25, 50, 100, 13, 0]}
    assert data["frames"][1][0] == {"heat": [0] * 6}
    panel = data["panels"][0]
    unit = data["unit"]
    assert panel["xticks"] == [[unit // 4, "x"], [3 * unit // 4, "y"]]
    assert [(name, round(at / unit, 2)) for at, name in panel["yticks"]] == [
        ("a", 0.83),
        ("b", 0.5),
        ("c", 0.17),
    ]
    assert digest["axes"][0]["artists"][0]["shape"] == [12]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (heat(z=np.zeros((2, 3))), r"shape \(rows, columns\) = \(3, 2\)"),
        (heat(z=np.full((3, 2), 1.5)), r"lie in \[0, 1\]"),
        (heat(z=np.full((3, 2), np.nan)), "must be finite"),
        (heat(rows="abc"), "rows must be a list of names"),
    ],
)
def test_heat_panels_that_cannot_be_drawn(spec, message):
    with pytest.raises(ValueError, match=message):
        sliders.build(spec, alt="a matrix")
