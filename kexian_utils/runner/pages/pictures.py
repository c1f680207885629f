"""Pictures as the pages show them: lighter files, and drawn again for a dark page."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

INK = 0.91  # of black lines and text on a dark page
PAPER = (21 / 255, 23 / 255, 26 / 255)  # the page's colour in the dark


def light_and_dark(picture: Image.Image, keep: Sequence[Sequence[int]] = ()) -> dict[str, bytes]:
    """The WebP files for "light" pages and for "dark" ones; the arguments are `darkened`'s."""
    return {"light": webp(picture), "dark": webp(darkened(picture, keep))}


def webp(picture: Image.Image) -> bytes:
    """The picture as WebP, pixel for pixel."""
    if picture.mode == "RGBA" and picture.getextrema()[-1] == (255, 255):
        picture = picture.convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=True, quality=60, method=4)
    return buffer.getvalue()


def darkened(picture: Image.Image, keep: Sequence[Sequence[int]] = ()) -> Image.Image:
    """A figure drawn on white, as if it had been drawn on the paper of a dark page.

    Each pixel is taken for a mixture of white, black and a pure colour. White becomes the paper,
    black the ink, and the pure colour stays, a little lighter, so that it is seen on the paper.

    Args:
        picture: on white.
        keep: boxes (left, top, right, bottom) in pixels, whose colours stand for numbers and stay.

    Examples:
        >>> from PIL import Image
        >>> picture = Image.new("RGB", (2, 1), "white")
        >>> picture.putpixel((1, 0), (0, 0, 0))
        >>> [darkened(picture).getpixel((x, 0)) for x in (0, 1)]
        [(21, 23, 26), (232, 232, 232)]
    """
    pixels = np.asarray(picture.convert("RGB"), np.float32) / 255
    white, high = pixels.min(axis=-1, keepdims=True), pixels.max(axis=-1, keepdims=True)
    chroma, black = high - white, 1 - high
    hue = (pixels - white) / np.maximum(chroma, 1e-6)
    vivid = np.minimum(2 * chroma, 1)
    paper = white ** (1 + 2 * vivid)  # a pale colour would fade: hue stands for some white
    ink = INK - 0.4 * vivid  # and black lightens a colour less than a grey
    turned = (
        paper * np.array(PAPER, np.float32)
        + (chroma + white - paper) * (0.15 + 0.85 * hue)
        + black * ink
    )
    turned = np.minimum(turned, 1)
    dark = Image.fromarray(np.rint(255 * turned).astype(np.uint8))
    for left, top, right, bottom in keep:
        area = (left, top, right, bottom)
        dark.paste(picture.convert("RGB").crop(area), area)
    return dark
