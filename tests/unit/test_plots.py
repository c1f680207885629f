"""Figures: alternative text is demanded, Chinese has glyphs, and changed data change the digest."""

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from PIL import Image

from kexian_utils import plots
from kexian_utils.mime import FIGURE_MIME

ALT = "A straight line that rises from left to right"


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        plots.use_style()
        yield
        plt.close("all")


def test_alternative_text_and_caption_are_required():
    fig, _ = plots.subplots()
    with pytest.raises(ValueError, match="alt must describe"):
        plots.show(fig, alt="a plot", caption="See.")
    with pytest.raises(ValueError, match="caption"):
        plots.show(fig, alt=ALT, caption=" ")


def test_show_leaves_picture_alt_caption_and_digest():
    shell = InteractiveShell.instance()
    assert shell is not None
    fig, ax = plots.subplots(width=500)
    ax.plot([0, 1], [0, 1])
    with capture_output() as out:
        plots.show(fig, alt=ALT, caption="**Figure 1.** It rises.", headline=True)
    InteractiveShell.clear_instance()
    picture, caption = out.outputs
    assert picture.metadata["image/png"] == {"alt": ALT, "width": 500}  # no colours to keep
    assert picture.data[FIGURE_MIME]["headline"] is True
    assert caption.data["text/markdown"] == "**Figure 1.** It rises."
    assert not plt.fignum_exists(fig.number)


def test_chinese_renders_and_a_missing_glyph_is_an_error():
    fig, ax = plots.subplots()
    ax.set_title("批归一化 损失地形")
    plots.show(fig, alt=ALT, caption="See.")
    fig, ax = plots.subplots()
    ax.set_title("\U00013000")  # a hieroglyph
    with pytest.raises(ValueError, match="no glyph"):
        plots.show(fig, alt=ALT, caption="See.")


def shown(fig):
    """The picture that `show` makes, in grey, and its metadata."""
    assert InteractiveShell.instance() is not None
    with capture_output() as out:
        plots.show(fig, alt=ALT, caption="See.")
    InteractiveShell.clear_instance()
    data, metadata = out.outputs[0].data, out.outputs[0].metadata["image/png"]
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("L")
    return np.asarray(picture), metadata


def test_text_that_leaves_the_figure_makes_the_picture_larger():
    fig, ax = plots.subplots(width=300)
    ax.plot([0, 1], [0, 1])
    fig.text(0.9, 0.5, "far out, to the right of the figure")
    picture, metadata = shown(fig)
    assert metadata["width"] > 400
    assert abs(picture.shape[1] - plots.PIXEL_RATIO * metadata["width"]) <= plots.PIXEL_RATIO
    assert (picture[:, [0, 1, -2, -1]] == 255).all()


def test_the_metadata_say_where_colours_are_numbers():
    fig, (left, right) = plots.subplots(1, 2)
    image = left.imshow(np.eye(3), cmap="gray")  # black and white, nothing else is
    fig.colorbar(image, ax=left)
    right.scatter([0, 1], [0, 1], c=[0.0, 1.0])
    picture, metadata = shown(fig)
    boxes = metadata["colours"]
    assert len(boxes) == 2  # the image and its bar, not the points
    a, top, b, bottom = boxes[0]
    assert (picture[top:bottom, a:b] < 9).mean() > 0.5
    assert abs((b - a) - (bottom - top)) <= 2  # a square


def line(y):
    fig, ax = plots.subplots()
    ax.plot(np.arange(len(y)), y)
    return plots.digest(fig)["axes"][0]["artists"][0]["arrays"]["y"]


def test_any_changed_value_moves_the_digest():
    y = np.random.default_rng(0).normal(size=1000)
    base = line(y)
    for place in (0, 1, 137, 999):
        changed = y.copy()
        changed[place] += 0.5
        moved = np.abs(np.subtract(line(changed)["projection"], base["projection"])).max()
        assert moved > 0.01
    assert line(y) == base


def test_permuted_values_move_the_digest():
    y = np.random.default_rng(0).normal(size=100)
    assert line(y)["projection"] != line(y[::-1].copy())["projection"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax, k: ax.plot([0, 1], [0, k]),
        lambda ax, k: ax.scatter([0, 1], [0, k]),
        lambda ax, k: ax.fill_between([0, 1], [0, 0], [1, k]),
        lambda ax, k: ax.imshow([[0, k]]),
        lambda ax, k: ax.pcolormesh([[0, k]]),
        lambda ax, k: ax.bar([0, 1], [1, k]),
        lambda ax, k: ax.contour([[0, 1], [2, k]]),
        lambda ax, k: ax.hist([0, 1, k]),
        lambda ax, k: ax.errorbar([0, 1], [0, k], yerr=[1, 1]),
        lambda ax, k: ax.axhline(k),
        lambda ax, k: ax.set_title(str(k)),
        lambda ax, k: ax.text(0, 0, str(k)),
    ],
)
def test_every_kind_of_drawing_is_recorded(draw):
    digests = []
    for k in (3.0, 4.0):
        fig, ax = plots.subplots()
        draw(ax, k)
        digests.append(plots.digest(fig))
    assert digests[0] != digests[1]


def test_digest_survives_nan_and_masks():
    entry = plots.array_digest([1.0, np.nan, 3.0])
    assert (entry["n"], entry["finite"], entry["mean"]) == (3, 2, 2.0)
    assert plots.array_digest([np.nan]) == {"n": 1, "finite": 0}
    assert plots.array_digest(np.ma.masked_array([1.0, 2.0], [True, False]))["finite"] == 1


def test_band_refuses_shapes_that_do_not_fit():
    _, ax = plots.subplots()
    with pytest.raises(ValueError, match="shape"):
        plots.band(ax, np.arange(3), np.zeros((2, 4)))


def test_palette_is_legible_on_white_and_differs_in_grey():
    def luminance(colour):
        rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    contrast = [1.05 / (luminance(colour) + 0.05) for colour in plots.PALETTE]
    assert min(contrast) > 2.2
    assert len(set(map(str, plots.LINE_STYLES[:-1]))) == len(plots.PALETTE) - 1
