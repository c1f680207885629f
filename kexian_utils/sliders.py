"""Interactive figures that work offline: in the book, from ``file://``, in JupyterLab and in Colab.

A reader moves one or more sliders and sees contours, curves and numbers change. Every position of
the sliders is computed in Python when the notebook runs; the page holds the resulting drawings as
JSON and a small script that shows the right one. So a figure needs no kernel, no server and no
other file, is keyboard and touch operable, follows the page's dark mode, and falls back to a still
picture in print and where scripts do not run.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np

__all__ = ["build", "show"]

# Integers from 0 to UNIT span an axis: a step is less than half a pixel at the book's width.
UNIT = 800
# A figure may weigh this much in the page, still picture included.
LIMIT = 300_000
# A vertex nearer than this (in integer steps) to the line between its neighbours is left out.
STRAIGHT = 0.8
COLOURS = 6  # in slider.css
KINDS = ("contours", "heat", "lines", "text")


def show(
    spec: Mapping[str, Any],
    *,
    alt: str,
    caption: str = "",
    fallback: Any = None,
) -> None:
    """Display an interactive figure as one self-contained output.

    Args:
        spec: what to draw, a mapping with the keys

            ``"sliders"``
                a list of one to three mappings ``{"name", "label", "min", "max", "steps"}``;
                ``"values"`` (a sequence) may stand instead of min, max and steps; ``"start"``
                (an index, default 0) and ``"format"`` (default ``"{:.2f}"``) are optional;
                ``"texts"`` names the positions instead, one string for each value.
            ``"panels"``
                a list of mappings ``{"name", "kind", ...}``. Kinds ``"contours"`` and ``"lines"``
                take ``"title"``, ``"xlabel"``, ``"ylabel"``, ``"xlim"``, ``"ylim"`` (pairs, in
                data units) and ``"yscale"`` (``"linear"`` or ``"log"``, also ``"xscale"``);
                contours take ``"levels"`` (increasing). Kind ``"heat"``, a matrix in colours, takes
                title, labels, ``"rows"`` and ``"columns"`` (names). Kind ``"text"`` takes no more.
            ``"frames"``
                a callable that receives the slider values by name and returns, for each panel
                name, a mapping. Contours: ``"x"`` of shape ``(nx,)``, ``"y"`` of shape ``(ny,)``,
                ``"z"`` of shape ``(ny, nx)``, optionally its own ``"levels"``, and ``"lines"``.
                Lines: ``"lines"``, a list of ``{"x", "y", "label", "color", "markers"}`` with
                ``x`` and ``y`` of one shape ``(n,)`` and a color from 0 to 5. Heat: ``"z"`` of
                shape (rows, columns) in [0, 1], 1 the strongest, the first row on top. Text:
                label -> string, the same labels in every frame.
        alt: what a reader who cannot see the figure should know; required.
        caption: Markdown shown below the figure.
        fallback: a Matplotlib figure, shown in print and where scripts do not run.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a part of ``spec`` is missing or malformed, or the figure is heavier than
            300 kB.

    Examples:
        >>> spec = {
        ...     "sliders": [{"name": "a", "label": "slope", "values": [1.0, 2.0]}],
        ...     "panels": [{"name": "line", "kind": "lines", "xlim": (0, 1), "ylim": (0, 2)}],
        ...     "frames": lambda a: {"line": {"lines": [{"x": [0.0, 1.0], "y": [0.0, a]}]}},
        ... }
        >>> show(spec, alt="A line through the origin, of any slope")  # doctest: +ELLIPSIS
        {'text/html': '<div class="kexian-slider"...'text/plain': 'Interactive figure: A line ...'}
    """
    from IPython.display import Markdown, display

    page, digest = build(spec, alt=alt, fallback=fallback)
    display(
        {
            "text/html": page,
            "application/vnd.kexian.figure+json": digest,
            "text/plain": f"Interactive figure: {alt}",
        },
        raw=True,
        metadata={"text/html": {"alt": alt, "kexian": "slider"}},
    )
    if caption:
        display(Markdown(caption))


def build(spec: Mapping[str, Any], *, alt: str, fallback: Any = None) -> tuple[str, dict[str, Any]]:
    """Return the HTML of an interactive figure and a digest of the data it was drawn from.

    The arguments are those of :func:`show`. The digest has the form of the book's other figures
    (``application/vnd.kexian.figure+json``), so that a re-run is compared by what was drawn and
    not by the text of a page.

    Examples:
        >>> spec = {
        ...     "sliders": [{"name": "a", "label": "slope", "values": [1.0, 2.0]}],
        ...     "panels": [{"name": "line", "kind": "lines", "xlim": (0, 1), "ylim": (0, 2)}],
        ...     "frames": lambda a: {"line": {"lines": [{"x": [0.0, 1.0], "y": [0.0, a]}]}},
        ... }
        >>> page, digest = build(spec, alt="A line through the origin, of any slope")
        >>> page[:26], digest["alt"]
        ('<div class="kexian-slider"', 'A line through the origin, of any slope')
    """
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt must be a non-empty description of the figure, got {alt!r}")
    if not isinstance(spec, Mapping):
        raise TypeError(f"spec must be a mapping, got {type(spec).__name__}")
    sliders = [_slider(item) for item in _list(spec, "sliders", 1, 3)]
    panels = [_panel(item) for item in _list(spec, "panels", 1, 4)]
    frames = spec.get("frames")
    if not callable(frames):
        raise TypeError(f"spec['frames'] must be callable, got {type(frames).__name__}")

    arrays: dict[str, list[np.ndarray]] = {}
    drawn = _draw_frames(frames, sliders, panels, arrays)
    data = {
        "unit": UNIT,
        "sliders": [{key: item[key] for key in ("label", "texts", "start")} for item in sliders],
        "panels": [_public(panel) for panel in panels],
        "frames": drawn,
    }
    payload = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    # "</" would end the script element early.
    payload = payload.replace("</", "<\\/")
    picture = _picture(fallback, alt)
    # Named by what it holds: a re-run gives the same page.
    key = "kx-" + hashlib.sha256((payload + alt).encode()).hexdigest()[:10]
    page = (
        f'<div class="kexian-slider" id="{key}"><style>{_asset("slider.css")}</style>'
        f'<figure role="group" aria-label="{html.escape(alt, quote=True)}">'
        f'<div class="kx-live" hidden></div>{picture}</figure>'
        f'<script type="application/json">{payload}</script>'
        f"<script>{_asset('slider.js')}</script></div>"
    )
    size = len(page.encode())
    if size > LIMIT:
        raise ValueError(
            f"the interactive figure weighs {size} bytes, more than {LIMIT}: "
            "use fewer slider steps, levels or points, or a smaller fallback picture"
        )
    return page, _digest(alt, sliders, panels, arrays)


def _list(spec: Mapping[str, Any], key: str, least: int, most: int) -> list[Any]:
    value = spec.get(key)
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError(f"spec[{key!r}] must be a list, got {type(value).__name__}")
    if not least <= len(value) <= most:
        raise ValueError(f"spec[{key!r}] must hold {least} to {most} entries, got {len(value)}")
    return list(value)


def _slider(item: Mapping[str, Any]) -> dict[str, Any]:
    name = item.get("name")
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"a slider's name must be an identifier, got {name!r}")
    if "values" in item:
        values = np.asarray(item["values"], dtype=float)
    else:
        missing = {"min", "max", "steps"} - set(item)
        if missing:
            raise ValueError(f"slider {name!r} lacks {sorted(missing)} (or give 'values')")
        values = np.linspace(float(item["min"]), float(item["max"]), int(item["steps"]))
    if values.ndim != 1 or values.size < 2 or not np.isfinite(values).all():
        raise ValueError(f"slider {name!r} needs two or more finite values, got {values!r}")
    start = int(item.get("start", 0))
    if not 0 <= start < values.size:
        raise ValueError(f"slider {name!r}: start must lie in 0..{values.size - 1}, got {start}")
    form = item.get("format", "{:.2f}")
    texts = item.get("texts", [form.format(value) for value in values])
    if len(texts) != values.size:
        raise ValueError(
            f"slider {name!r} needs a text for each of its {values.size} values, got {len(texts)}"
        )
    return {
        "name": name,
        "label": str(item.get("label", name)),
        "values": [float(value) for value in values],
        "texts": [str(text) for text in texts],
        "start": start,
    }


def _panel(item: Mapping[str, Any]) -> dict[str, Any]:
    name, kind = item.get("name"), item.get("kind")
    if not isinstance(name, str) or not name:
        raise ValueError(f"a panel needs a name, got {name!r}")
    if kind not in KINDS:
        raise ValueError(f"panel {name!r}: kind must be one of {KINDS}, got {kind!r}")
    panel: dict[str, Any] = {"name": name, "kind": kind}
    if kind == "text":
        return panel
    if kind == "heat":
        return panel | _heat_axes(name, item)
    for axis in "xy":
        scale = item.get(f"{axis}scale", "linear")
        if scale not in ("linear", "log"):
            raise ValueError(f"panel {name!r}: {axis}scale must be linear or log, got {scale!r}")
        limits = item.get(f"{axis}lim")
        if limits is None or len(limits) != 2:
            raise ValueError(f"panel {name!r}: {axis}lim must be a pair, got {limits!r}")
        low, high = (float(limit) for limit in limits)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"panel {name!r}: {axis}lim must increase, got {limits!r}")
        if scale == "log" and low <= 0:
            raise ValueError(f"panel {name!r}: {axis}lim must be positive on a log axis")
        panel[f"{axis}lim"], panel[f"{axis}scale"] = (low, high), scale
        panel[f"{axis}ticks"] = _ticks(low, high, scale)
        panel[f"{axis}label"] = str(item.get(f"{axis}label", ""))
    panel["title"] = str(item.get("title", ""))
    panel["levels"] = item.get("levels")
    return panel


def _heat_axes(name: str, item: Mapping[str, Any]) -> dict[str, Any]:
    axes: dict[str, Any] = {"title": str(item.get("title", ""))}
    for axis, key in (("x", "columns"), ("y", "rows")):
        names = item.get(key)
        if not isinstance(names, Sequence) or isinstance(names, str) or not names:
            raise ValueError(f"panel {name!r}: {key} must be a list of names, got {names!r}")
        places = (np.arange(len(names)) + 0.5) / len(names) * UNIT
        if axis == "y":  # the first row is on top
            places = UNIT - places
        axes[f"{axis}ticks"] = [[round(p), str(n)] for p, n in zip(places, names, strict=True)]
        axes[f"{axis}label"] = str(item.get(f"{axis}label", ""))
    return axes


def _public(panel: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("kind", "title", "xlabel", "ylabel", "xticks", "yticks", "labels")
    return {key: panel[key] for key in keys if key in panel}


def _ticks(low: float, high: float, scale: str) -> list[list[Any]]:
    """Return ``[position in integer steps, label]`` pairs at round numbers."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    if scale == "log":
        places = LogLocator(numticks=6).tick_values(low, high)
    else:
        places = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    inside = [place for place in places if low <= place <= high]
    whole = _whole(np.asarray(inside, dtype=float), (low, high), scale)
    return [
        [int(at), f"{place:g}".replace("-", "−")] for at, place in zip(whole, inside, strict=True)
    ]


def _whole(values: np.ndarray, limits: tuple[float, float], scale: str) -> np.ndarray:
    low, high = limits
    if scale == "log":
        # What is not positive lies below the axis.
        values = np.log(np.maximum(values, np.finfo(float).tiny))
        low, high = math.log(low), math.log(high)
    whole = np.round((values - low) / (high - low) * UNIT)
    # Points far outside are clipped by the page anyway; keep their digits few.
    return np.clip(whole, -2 * UNIT, 3 * UNIT)


def _draw_frames(
    frames: Callable[..., Mapping[str, Any]],
    sliders: Sequence[Mapping[str, Any]],
    panels: Sequence[dict[str, Any]],
    arrays: dict[str, list[np.ndarray]],
) -> list[list[Any]]:
    drawn = []
    names = [slider["name"] for slider in sliders]
    for values in itertools.product(*(slider["values"] for slider in sliders)):
        frame = frames(**dict(zip(names, values, strict=True)))
        row = []
        for panel in panels:
            if panel["name"] not in frame:
                raise ValueError(f"the frame at {values} lacks the panel {panel['name']!r}")
            content = frame[panel["name"]]
            row.append(_draw_panel(panel, content, arrays))
        drawn.append(row)
    return drawn


def _draw_panel(
    panel: dict[str, Any], content: Mapping[str, Any], arrays: dict[str, list[np.ndarray]]
) -> Any:
    name = panel["name"]
    if panel["kind"] == "text":
        labels = list(content)
        if panel.setdefault("labels", labels) != labels:
            raise ValueError(f"panel {name!r}: every frame needs the labels {panel['labels']}")
        return [str(content[label]) for label in labels]
    drawn: dict[str, Any] = {}
    if panel["kind"] == "heat":
        z = _finite(content["z"], f"panel {name!r}: z", 2)
        shape = (len(panel["yticks"]), len(panel["xticks"]))
        if z.shape != shape or z.min() < 0 or z.max() > 1:
            raise ValueError(
                f"panel {name!r}: z must have the shape (rows, columns) = {shape} and lie in "
                f"[0, 1], got {z.shape}, {z.min():g} to {z.max():g}"
            )
        arrays.setdefault(f"{name}.z", []).append(z)
        return {"heat": [int(value) for value in np.rint(100 * z).ravel()]}
    if panel["kind"] == "contours":
        drawn["levels"] = _contours(panel, content, arrays)
    lines = []
    for index, line in enumerate(content.get("lines", [])):
        x = _finite(line["x"], f"panel {name!r}, line {index}: x", 1)
        y = _finite(line["y"], f"panel {name!r}, line {index}: y", 1)
        if x.shape != y.shape:
            raise ValueError(
                f"panel {name!r}, line {index}: x and y must have one shape, "
                f"got {x.shape} and {y.shape}"
            )
        arrays.setdefault(f"{name}.line{index}.x", []).append(x)
        arrays.setdefault(f"{name}.line{index}.y", []).append(y)
        points = _points(panel, x, y)
        markers = bool(line.get("markers", False))
        if not markers:
            points = _simplify(points)
        color = line.get("color", index % COLOURS)
        if color not in range(COLOURS):
            raise ValueError(
                f"panel {name!r}, line {index}: color must be one of 0 to {COLOURS - 1}, "
                f"got {color!r}"
            )
        entry = {"p": _deltas(points), "c": int(color)}
        if markers:
            entry["m"] = 1
        if line.get("label"):
            entry["t"] = str(line["label"])
        lines.append(entry)
    if lines:
        drawn["lines"] = lines
    return drawn


def _contours(
    panel: Mapping[str, Any], content: Mapping[str, Any], arrays: dict[str, list[np.ndarray]]
) -> list[list[list[int]]]:
    from contourpy import contour_generator

    name = panel["name"]
    x = _finite(content["x"], f"panel {name!r}: x", 1)
    y = _finite(content["y"], f"panel {name!r}: y", 1)
    z = _finite(content["z"], f"panel {name!r}: z", 2)
    if z.shape != (y.size, x.size):
        raise ValueError(
            f"panel {name!r}: z must have the shape (len(y), len(x)) = {(y.size, x.size)}, "
            f"got {z.shape}"
        )
    levels = content.get("levels", panel["levels"])
    if levels is None:
        raise ValueError(f"panel {name!r}: give 'levels' in the panel or in each frame")
    arrays.setdefault(f"{name}.z", []).append(z)
    generator = contour_generator(x=x, y=y, z=z)
    drawn = []
    for level in _finite(levels, f"panel {name!r}: levels", 1):
        polylines = []
        for line in map(np.asarray, generator.lines(float(level))):
            points = _simplify(_points(panel, line[:, 0], line[:, 1]))
            if len(points) > 1:
                polylines.append(_deltas(points))
        drawn.append(polylines)
    return drawn


def _finite(values: Any, what: str, rank: int) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.ndim != rank or array.size == 0:
        raise ValueError(f"{what} must be a non-empty array of rank {rank}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite")
    return array


def _points(panel: Mapping[str, Any], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    whole = np.stack(
        [_whole(x, panel["xlim"], panel["xscale"]), _whole(y, panel["ylim"], panel["yscale"])],
        axis=1,
    ).astype(int)
    keep = np.ones(len(whole), dtype=bool)
    keep[1:] = np.any(whole[1:] != whole[:-1], axis=1)
    return whole[keep]


def _simplify(points: np.ndarray) -> np.ndarray:
    """Drop vertices that lie on the line between others (Douglas and Peucker, 1973)."""
    if len(points) < 3:
        return points
    keep = np.zeros(len(points), dtype=bool)
    keep[[0, -1]] = True
    stack = [(0, len(points) - 1)]
    while stack:
        first, last = stack.pop()
        if last - first < 2:
            continue
        start, chord = points[first], points[last] - points[first]
        offset = points[first + 1 : last] - start
        length = math.hypot(*chord)
        if length == 0:
            distance = np.hypot(offset[:, 0], offset[:, 1])
        else:
            distance = np.abs(chord[0] * offset[:, 1] - chord[1] * offset[:, 0]) / length
        far = int(np.argmax(distance))
        if distance[far] > STRAIGHT:
            middle = first + 1 + far
            keep[middle] = True
            stack += [(first, middle), (middle, last)]
    return points[keep]


def _deltas(points: np.ndarray) -> list[int]:
    steps = np.diff(points, axis=0, prepend=np.zeros((1, 2), dtype=int))
    return [int(value) for value in steps.ravel()]


def _picture(figure: Any, alt: str) -> str:
    if figure is None:
        return ""
    if not hasattr(figure, "savefig"):
        raise TypeError(f"fallback must be a Matplotlib figure, got {type(figure).__name__}")
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    plt.close(figure)
    picture = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'<img class="kx-fallback" alt="{html.escape(alt, quote=True)}" '
        f'src="data:image/png;base64,{picture}">'
    )


def _digest(
    alt: str,
    sliders: Sequence[Mapping[str, Any]],
    panels: Sequence[Mapping[str, Any]],
    arrays: Mapping[str, list[np.ndarray]],
) -> dict[str, Any]:
    from kexian_utils.plots import array_digest

    artists = []
    for name, parts in arrays.items():
        values = np.concatenate([part.ravel() for part in parts])
        artists.append(
            {
                "kind": "slider",
                "label": name,
                "shape": [int(values.size)],
                "arrays": {"values": array_digest(values)},
            }
        )
    axes = {
        "xlabel": ", ".join(slider["label"] for slider in sliders),
        "ylabel": ", ".join(panel["name"] for panel in panels),
        "title": ", ".join(panel["title"] for panel in panels if panel.get("title")),
        "artists": artists,
    }
    return {"schema": 1, "alt": alt, "caption": "", "headline": False, "axes": [axes]}


def _asset(name: str) -> str:
    return resources.files("kexian_utils").joinpath("assets", name).read_text(encoding="utf-8")
