"""The house style of figures, and figures that can be compared without comparing pixels.

A figure is shown with `show`, which asks for alternative text, writes a sharp PNG, and leaves
beside it a digest of the plotted arrays. Regression tests compare the digest.
"""

from __future__ import annotations

import importlib.util
import io
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.collections import QuadMesh
from matplotlib.contour import ContourSet
from matplotlib.image import AxesImage
from matplotlib.transforms import Bbox

from kexian_utils.mime import FIGURE_MIME

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette without its yellow, which vanishes on paper. The line styles differ
# as well, so a print in grey can still be read.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINE_STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), "-")
DIVERGING = "RdBu_r"
SEQUENTIAL = "cividis"

# What must not be written lest the same picture makes another file the next time.
_DATES = {".svg": {"Date": None}, ".png": {"Software": None}, ".pdf": {"CreationDate": None}}
FIGURE_SUFFIXES = tuple(_DATES)

__all__ = [
    "DIVERGING",
    "FIGURE_SUFFIXES",
    "LINE_STYLES",
    "PALETTE",
    "SEQUENTIAL",
    "array_digest",
    "band",
    "cjk_font",
    "digest",
    "label_line",
    "save_figure",
    "show",
    "subplots",
    "use_style",
]

CSS_DPI = 96
PIXEL_RATIO = 2
MARGIN = 3  # CSS pixels round what would else leave the picture
WIDTH = 600  # CSS pixels: still legible when a phone shrinks it to 343


def cjk_font() -> Path:
    """The Noto Sans SC font that the package zhplot carries (its code is not imported).

    Raises:
        RuntimeError: the package is not installed.

    Examples:
        >>> cjk_font().name
        'NotoSansSC-Regular.ttf'
    """
    spec = importlib.util.find_spec("zhplot")
    if spec is None or spec.origin is None:
        raise RuntimeError(
            "figures need the Chinese font of the package zhplot: pip install zhplot"
        )
    return Path(spec.origin).parent / "fonts" / "NotoSansSC-Regular.ttf"


def use_style() -> None:
    """Set the book's style for all Matplotlib figures that follow.

    Examples:
        >>> use_style()
        >>> import matplotlib as mpl
        >>> mpl.rcParams["axes.titlelocation"]
        'left'
    """
    from matplotlib import font_manager

    font = cjk_font()
    if not any(Path(entry.fname) == font for entry in font_manager.fontManager.ttflist):
        font_manager.fontManager.addfont(font)
    mpl.rcParams.update(
        {
            "figure.dpi": CSS_DPI,
            "savefig.dpi": CSS_DPI * PIXEL_RATIO,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "font.family": ["DejaVu Sans", "Noto Sans SC"],
            "font.size": 10.5,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.labelsize": 10.5,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.prop_cycle": cycler(color=PALETTE) + cycler(linestyle=LINE_STYLES),
            "grid.color": "#dddddd",
            "grid.linewidth": 0.7,
            "lines.linewidth": 2.0,
            "legend.frameon": False,
            "image.cmap": SEQUENTIAL,
            "svg.hashsalt": "kexian",
        }
    )


def subplots(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = WIDTH,
    height: float | None = None,
    **kwargs: Any,
) -> tuple[Any, Any]:
    """`matplotlib.pyplot.subplots` with the size in CSS pixels.

    Args:
        rows: number of rows of axes.
        columns: number of columns of axes.
        width: width of the figure in CSS pixels.
        height: height in CSS pixels; default 0.62 of a panel's width for each row.
        **kwargs: passed on to `matplotlib.pyplot.subplots`.

    Examples:
        >>> fig, ax = subplots(width=480, height=240)
        >>> fig.get_size_inches() * 96
        array([480., 240.])
    """
    import matplotlib.pyplot as plt

    height = height or 0.62 * width / columns * rows
    return plt.subplots(rows, columns, figsize=(width / CSS_DPI, height / CSS_DPI), **kwargs)


def band(ax: Any, x: Any, values: Any, *, label: str | None = None, **kwargs: Any) -> Any:
    """Draw the median over seeds as a line and the range from lowest to highest as a band.

    Args:
        ax: Matplotlib axes.
        x: shape (n,).
        values: shape (seeds, n).
        label: label of the line.
        **kwargs: passed on to `ax.plot`.

    Returns:
        The line.

    Raises:
        ValueError: the shapes do not fit.

    Examples:
        >>> fig, ax = subplots()
        >>> line = band(ax, [1, 2], [[3.0, 4.0], [5.0, 6.0], [4.0, 8.0]])
        >>> line.get_ydata()
        array([4., 6.])
    """
    x, values = np.asarray(x), np.asarray(values, dtype=float)
    if values.ndim != 2 or x.shape != values.shape[1:]:
        raise ValueError(f"values must have shape (seeds, {x.size}), got {values.shape}")
    (line,) = ax.plot(x, np.median(values, axis=0), label=label, **kwargs)
    ax.fill_between(
        x, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.2, linewidth=0
    )
    return line


def label_line(ax: Any, line: Any, text: str, *, at: int = -1, dx: float = 4, dy: float = 0) -> Any:
    """Write `text` beside a point of `line`, in its colour: a direct label instead of a legend.

    Args:
        ax: Matplotlib axes.
        line: a `Line2D`.
        text: the label.
        at: index of the point (default: the last).
        dx: horizontal offset in points.
        dy: vertical offset in points.

    Examples:
        >>> fig, ax = subplots()
        >>> (line,) = ax.plot([0, 1], [0, 2])
        >>> label_line(ax, line, "twice").get_text()
        'twice'
    """
    x, y = line.get_xdata()[at], line.get_ydata()[at]
    return ax.annotate(
        text,
        (x, y),
        xytext=(dx, dy),
        textcoords="offset points",
        color=line.get_color(),
        va="center",
        annotation_clip=False,
    )


def show(
    fig: Any,
    *,
    alt: str,
    caption: str,
    headline: bool = False,
    close: bool = True,
) -> None:
    """Show a figure with its alternative text and caption, and record what was drawn.

    Text that leaves the figure makes the picture larger. The metadata of the picture say where
    colours stand for numbers (``colours``, boxes in pixels), so that a dark page can be given a
    dark picture in which these stay.

    Args:
        fig: the Matplotlib figure.
        alt: what the picture shows, for readers who cannot see it: at least 20 characters.
        caption: Markdown shown below, one sentence that says what to see.
        headline: True for the one figure of a chapter that stands in the gallery.
        close: close the figure afterwards, so that no front end shows it twice.

    Raises:
        ValueError: `alt` or `caption` says nothing, or a character has no glyph in the fonts.

    Examples:
        >>> fig, ax = subplots()
        >>> lines = ax.plot([0, 1], [0, 1])
        >>> show(fig, alt="A straight line that rises", caption="")
        Traceback (most recent call last):
            ...
        ValueError: caption must say what to see in the picture
    """
    if len(alt.strip()) < 20:
        raise ValueError(f"alt must describe the picture in at least 20 characters, got {alt!r}")
    if not caption.strip():
        raise ValueError("caption must say what to see in the picture")
    picture, box = _png(fig)
    metadata = {"alt": alt, "width": round(box.width * CSS_DPI)}
    if boxes := _coloured(fig, box):
        metadata["colours"] = boxes
    record = {"schema": 1, "alt": alt, "caption": caption, "headline": headline, **digest(fig)}
    if close:
        import matplotlib.pyplot as plt

        plt.close(fig)
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        return
    data = {"image/png": picture, "text/plain": f"Figure: {alt}", FIGURE_MIME: record}
    display(data, raw=True, metadata={"image/png": metadata})
    display({"text/markdown": caption, "text/plain": caption}, raw=True)


def _png(fig: Any) -> tuple[str, Bbox]:
    """The picture in base64, and what it shows of the figure's plane, in inches."""
    import base64

    buffer = io.BytesIO()
    dpi = CSS_DPI * PIXEL_RATIO
    fig.set_dpi(dpi)  # letters have other widths at another resolution
    options: dict[str, Any] = {"format": "png", "dpi": dpi, "metadata": {"Software": None}}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*[Gg]lyph .* missing.*")
        try:
            fig.savefig(buffer, **options)
        except UserWarning as error:
            raise ValueError(
                f"a character of the figure has no glyph in the fonts: {error}. "
                "Call plots.use_style() first, or write it as mathematics."
            ) from error
    box = Bbox.union([fig.bbox_inches, fig.get_tightbbox().padded(MARGIN / CSS_DPI)])
    if np.any(box.get_points() != fig.bbox_inches.get_points()):
        buffer = io.BytesIO()
        fig.savefig(buffer, bbox_inches=box, **options)
    return base64.b64encode(buffer.getvalue()).decode("ascii"), box


def _coloured(fig: Any, box: Bbox) -> list[list[int]]:
    """The boxes [left, top, right, bottom], in pixels of the picture, of images and meshes.

    A colour bar goes with what it explains.
    """
    scale = CSS_DPI * PIXEL_RATIO
    boxes = []
    for ax in fig.axes:
        bar = getattr(ax, "_colorbar", None)
        if not any(map(_filled, ax.get_children() if bar is None else [bar.mappable])):
            continue
        inside = ax.get_window_extent().transformed(fig.dpi_scale_trans.inverted())
        left, right = inside.x0 - box.x0, inside.x1 - box.x0
        top, bottom = box.y1 - inside.y1, box.y1 - inside.y0
        boxes.append([round(edge * scale) for edge in (left, top, right, bottom)])
    return boxes


def _filled(artist: Any) -> bool:
    """Whether the artist covers its axes with colours that stand for numbers."""
    return isinstance(artist, AxesImage | QuadMesh) or (
        isinstance(artist, ContourSet) and artist.filled
    )


# -- the digest ---------------------------------------------------------------------------------


def array_digest(values: Any) -> dict[str, Any]:
    """A short record of an array, from which a change beyond a tolerance can be told.

    Holds size, number of finite values, extremes, mean, standard deviation, up to 16 values at
    even distances, and four pseudo-random projections (sums with signs, divided by sqrt(n)) that
    move when any value moves.

    Examples:
        >>> array_digest([1.0, 2.0, 4.0])["max"]
        4.0
    """
    if np.ma.isMaskedArray(values):
        values = np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)
    array = np.asarray(values)
    if array.dtype.kind not in "biufmM":
        return {"n": int(array.size), "words": [str(v) for v in array.flat][:64]}
    flat = array.astype(float).ravel()
    finite = np.isfinite(flat)
    good = flat[finite]
    entry: dict[str, Any] = {"n": int(flat.size), "finite": int(good.size)}
    if good.size:
        places = np.unique(np.linspace(0, flat.size - 1, min(16, flat.size)).round().astype(int))
        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(4, flat.size))
        projection = (signs @ np.where(finite, flat, 0.0)) / np.sqrt(flat.size)
        entry |= {
            "min": _rounded(good.min()),
            "max": _rounded(good.max()),
            "mean": _rounded(good.mean()),
            "std": _rounded(good.std()),
            "samples": [_rounded(v) for v in flat[places]],
            "projection": [_rounded(v) for v in projection],
        }
    return entry


def _rounded(value: float) -> float | None:
    return float(f"{value:.7g}") if np.isfinite(value) else None


def digest(fig: Any) -> dict[str, Any]:
    """What is drawn in every axes of a figure: labels in words, data as `array_digest`.

    Examples:
        >>> fig, ax = subplots()
        >>> lines = ax.plot([0, 1], [2, 3])
        >>> digest(fig)["axes"][0]["artists"][0]["arrays"]["y"]["min"]
        2.0
    """
    return {"axes": [_axes_digest(ax) for ax in fig.axes]}


def _axes_digest(ax: Any) -> dict[str, Any]:
    artists = [_line_digest(line) for line in ax.lines]
    artists += [_collection_digest(item) for item in ax.collections]
    artists += [
        {
            "kind": "image",
            "shape": list(np.shape(image.get_array())),
            "arrays": {
                "values": array_digest(image.get_array()),
                "extent": array_digest(image.get_extent()),
            },
        }
        for image in ax.images
    ]
    if ax.patches:
        corners = np.concatenate(
            [
                p.get_transform()
                .transform_path(p.get_path())
                .transformed(ax.transData.inverted())
                .vertices
                for p in ax.patches
            ]
        )
        artists.append(
            {
                "kind": "patches",
                "shape": list(corners.shape),
                "arrays": {"vertices": array_digest(corners)},
            }
        )
    legend = ax.get_legend()
    texts = [t.get_text() for t in ax.texts] + (
        [t.get_text() for t in legend.get_texts()] if legend else []
    )
    return {
        "title": ax.get_title(loc="left") or ax.get_title(),
        "xlabel": ax.get_xlabel(),
        "ylabel": ax.get_ylabel(),
        "xscale": ax.get_xscale(),
        "yscale": ax.get_yscale(),
        "texts": texts,
        "artists": artists,
    }


def _line_digest(line: Any) -> dict[str, Any]:
    x, y = line.get_xdata(orig=False), line.get_ydata(orig=False)
    return {
        "kind": "line",
        "label": _label(line),
        "shape": [int(np.size(x))],
        "arrays": {"x": array_digest(x), "y": array_digest(y)},
    }


def _collection_digest(item: Any) -> dict[str, Any]:
    arrays = {}
    offsets = np.asarray(item.get_offsets(), dtype=float)
    if offsets.size and not (offsets.shape[0] == 1 and not offsets.any()):
        arrays["offsets"] = array_digest(offsets)
    elif item.get_paths():
        arrays["vertices"] = array_digest(np.concatenate([p.vertices for p in item.get_paths()]))
    if item.get_array() is not None:
        arrays["values"] = array_digest(item.get_array())
    if hasattr(item, "get_coordinates"):  # QuadMesh
        arrays["vertices"] = array_digest(item.get_coordinates())
    return {
        "kind": type(item).__name__,
        "label": _label(item),
        "shape": [arrays[k]["n"] for k in sorted(arrays)],
        "arrays": arrays,
    }


def _label(artist: Any) -> str:
    label = str(artist.get_label())
    return "" if label.startswith("_") else label


def save_figure(draw: Callable[[], Figure], path: str | os.PathLike) -> None:
    """Draw to a file in the style of the book; text in an SVG is drawn as outlines.

    The file gets its name when it is complete. Characters without a glyph are boxes.

    Args:
        draw: makes the figure.
        path: ends in .svg, .png or .pdf.

    Raises:
        ValueError: for another suffix.
        OSError: if the file cannot be written.

    Examples:
        >>> def draw():
        ...     fig, ax = subplots()
        ...     return fig
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_figure(draw, os.path.join(folder, "empty.svg"))
        ...     print(os.listdir(folder))
        ['empty.svg']
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FIGURE_SUFFIXES:
        raise ValueError(f"path must end in {', '.join(FIGURE_SUFFIXES)}, got {os.fspath(path)!r}")
    handle, partial = tempfile.mkstemp(suffix, f".{path.stem}-", path.parent)
    os.close(handle)
    try:
        with mpl.rc_context(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*[Gg]lyph .* missing.*")
            use_style()
            mpl.rcParams.update({"svg.fonttype": "path", "axes.grid": False})
            draw().savefig(partial, metadata=_DATES[suffix])
        os.chmod(partial, 0o666 & ~_umask())
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
