"""Recomputation instead of storage: how to cut a chain of layers, and how to measure (7367)."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from kexian_utils import _checks

__all__ = ["CheckpointPlan", "checkpoint_plan", "optimal_checkpoint_cost", "peak_rss"]


class CheckpointPlan(NamedTuple):
    """How to cut a chain of layers.

    Attributes:
        segments: the number of pieces, each recomputed as a whole.
        size: layers of a piece; the last one may have fewer.
        peak: memory of the activations at the worst moment, in the unit of the arguments.

    Examples:
        >>> plan = checkpoint_plan(16)
        >>> plan.segments, plan.size
        (4, 4)
    """

    segments: int
    size: int
    peak: float


def checkpoint_plan(n: int, boundary: float = 1.0, inner: float = 0.0) -> CheckpointPlan:
    r"""The cut of ``n`` equal layers that needs the least memory when pieces are recomputed.

    .. math:: \min_s\ \lceil n/s\rceil\,a+s\,(a+c),

    with ``s`` layers to a piece; about :math:`2\sqrt{na(a+c)}`.

    Args:
        n: number of layers, at least 1.
        boundary: memory a of what a layer hands to the next one, more than 0.
        inner: memory c of what a layer keeps inside for its own backward pass, 0 or more.

    Returns:
        The best cut; of several the one with the fewest layers to a piece.

    Raises:
        TypeError: an argument is no number.
        ValueError: an argument is outside its range.

    Source: article 7367, equation (4); T. Chen et al., arXiv 1604.06174.

    Examples:
        >>> checkpoint_plan(64)
        CheckpointPlan(segments=8, size=8, peak=16.0)
        >>> checkpoint_plan(12, boundary=1, inner=7)
        CheckpointPlan(segments=12, size=1, peak=20.0)
    """
    n = _checks.whole("n", n, 1)
    boundary, inner = float(boundary), float(inner)
    if not (0 < boundary < math.inf):
        raise ValueError(f"boundary must be a finite number above 0, got {boundary}")
    if not (0 <= inner < math.inf):
        raise ValueError(f"inner must be a finite number of at least 0, got {inner}")
    plans = [
        CheckpointPlan(-(-n // s), s, -(-n // s) * boundary + s * (boundary + inner))
        for s in range(1, n + 1)
    ]
    return min(plans, key=lambda plan: plan.peak)


def optimal_checkpoint_cost(length: int, slots: int) -> int:
    r"""Least number of layer evaluations that reverse a chain with few checkpoints.

    .. math:: T(\ell,s)=\rho\,\ell-\binom{s+\rho}{\rho-1},\qquad
        \rho=\min\Bigl\{\rho:\binom{s+\rho}{s}\ge\ell\Bigr\}.

    The evaluation of a layer directly before its own backward step is not counted: there is one of
    these for each layer.

    Args:
        length: number of layers, at least 1.
        slots: checkpoints that may be held at a time, the chain's input among them, at least 1.

    Raises:
        TypeError: an argument is no whole number.
        ValueError: an argument is smaller than 1.

    Source: article 7367, equation (11); A. Griewank and A. Walther, "Algorithm 799: Revolve", ACM
    TOMS 26 (2000).

    Examples:
        >>> optimal_checkpoint_cost(100, 5)
        316
        >>> optimal_checkpoint_cost(100, 100)  # enough for every layer: one pass
        99
    """
    length = _checks.whole("length", length, 1)
    slots = _checks.whole("slots", slots, 1)
    passes = 0
    while math.comb(slots + passes, slots) < length:
        passes += 1
    return passes * length - math.comb(slots + passes, passes - 1) if passes else 0


def peak_rss(function: Callable[[], Any]) -> tuple[Any, int | None]:
    """Call a function, and measure by how much the memory of this process grew at its peak.

    The operating system's account: pages in memory at the worst moment minus pages before, in
    bytes. It sees what a library *takes*, not what it uses: a pool that keeps freed memory hides
    the next peak. So measure in a process of its own, with arrays of some megabytes, and with pools
    switched off (TensorFlow: ``TF_ENABLE_ONEDNN_OPTS=0`` before the import). The pool of the C
    library is switched off here: from the first call on the process takes blocks of a megabyte and
    more from the system and gives them back at once. What was allocated before stays in the pool;
    so call this once, with any function, before the first large array.

    Args:
        function: called without arguments.

    Returns:
        What the function returned, and the bytes; None for these where the system is not Linux.

    Examples:
        >>> import numpy as np
        >>> total, grown = peak_rss(lambda: float(np.ones(4_000_000).sum()))
        >>> total
        4000000.0
        >>> grown is None or grown > 20_000_000
        True
    """
    process = Path("/proc/self")
    _give_back_at_once()
    try:
        (process / "clear_refs").write_text("5")  # the high-water mark becomes what is in use
        before = _pages(process, "VmRSS:")
    except (OSError, LookupError):
        return function(), None
    result = function()
    return result, _pages(process, "VmHWM:") - before


def _give_back_at_once() -> None:
    """Fix glibc's limit for blocks of their own, which else grows to the largest block freed."""
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt") and hasattr(library, "malloc_trim"):  # glibc
        library.mallopt(-3, 1 << 20)  # M_MMAP_THRESHOLD
        library.malloc_trim(0)


def _pages(process: Path, key: str) -> int:
    for line in (process / "status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise LookupError(key)
