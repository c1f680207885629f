r"""One yardstick for the generative models of the book, with the rivals that learn next to nothing.

Two tasks, the same in every chapter whatever its seed: eight narrow normal distributions on a
ring, and the small digits of scikit-learn. A model is measured at equal compute,
:data:`BUDGET` *passes*: a pass takes one batch (:data:`BATCHES`) through one network, forward,
or back to its weights, or back to its input, which cost about as much as each other. All networks
have two hidden layers of 64 units. A critic's
step on real and generated samples is 1 pass of the generator and 6 of the critic, a generator's
step 2 forward, 1 back through the critic and 2 back through the generator. A chapter shows its
rows with :func:`show`; the page of the part gathers those of all chapters in one table per task.

The rivals (:func:`rivals`) stand in the same table: what a bare circle, one normal distribution
or a kernel density reaches, no network has to be trained for; and nothing can be better than
fresh real samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity, NearestNeighbors
from sklearn.neural_network import MLPClassifier

from kexian_utils import _checks, datasets, mime
from kexian_utils.generative import distances

__all__ = [
    "BATCHES",
    "BUDGET",
    "CENTERS",
    "COLUMNS",
    "DRAWS",
    "TASKS",
    "TITLES",
    "WIDTHS",
    "Entry",
    "kernel_width",
    "markdown",
    "ranking",
    "rivals",
    "row",
    "sample_ring",
    "score",
    "show",
    "steps",
    "training_data",
]

BUDGET = 20_000
"""Passes of one batch through one network that a row may take."""

BATCHES = {"ring": 128, "digits": 64}
"""Samples in a batch of each task."""

DRAWS = {"ring": 2000, "digits": 1000}
"""Generated samples that are measured."""

_ANGLES = 2 * np.pi * np.arange(8) / 8
CENTERS = 2 * np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)])
"""The eight modes of the ring, shape (8, 2); each has the standard deviation 0.1."""

COLUMNS = {
    "ring": {
        "modes": "modes of 8",
        "near": "share near a mode",
        "exact": "exact $W_1$",
        "sliced": "sliced $W_1$",
    },
    "digits": {
        "frechet": "Fréchet distance",
        "sliced": "sliced $W_1$",
        "novelty": "distance to the training set",
    },
}
"""What is measured in each task, and the head of its column."""

TASKS = tuple(COLUMNS)
TITLES = {"ring": "Eight points on a ring", "digits": "Digits of 8×8 pixels"}
"""What a reader calls each task."""

WIDTHS = np.geomspace(0.02, 0.5, 15)
"""Widths that the kernel density may have."""

_DECIMALS = {"modes": 0, "frechet": 1}
_MAIN = {"ring": "exact", "digits": "frechet"}


class Entry(NamedTuple):
    """One model or rival on one task.

    Attributes:
        name: what it is, as a reader would say it.
        scores: the measures of :data:`COLUMNS`, each with one number a seed.
        passes: what its training took; 0 for a rival.

    Examples:
        >>> Entry("real samples", {"modes": [8.0, 8.0]}).passes
        0
    """

    name: str
    scores: dict[str, list[float]]
    passes: int = 0


def steps(passes_per_step: int, budget: int = BUDGET) -> int:
    """How many training steps a budget pays for.

    Args:
        passes_per_step: passes (see above) of one step, at least 1.
        budget: all passes.

    Raises:
        ValueError: a step costs nothing, or more than the budget.

    Examples:
        Two critic steps of 7 passes and a generator step of 5:

        >>> steps(2 * 7 + 5)
        1052
    """
    _checks.whole("passes_per_step", passes_per_step, least=1)
    if passes_per_step > budget:
        raise ValueError(
            f"passes_per_step must be at most the budget of {budget}, got {passes_per_step}"
        )
    return budget // passes_per_step


def sample_ring(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Real samples of the ring, shape (*shape, 2), float32.

    Args:
        rng: their generator.
        shape: how many, such as ``128`` or ``(seeds, 128)``.

    Examples:
        >>> sample_ring(np.random.default_rng(0), 5, 128).shape
        (5, 128, 2)
    """
    drawn = CENTERS[rng.integers(8, size=shape)] + 0.1 * rng.normal(size=(*shape, 2))
    return drawn.astype("float32")


def training_data(task: str) -> np.ndarray:
    """What the models of a task are trained on, shape (n, d).

    The ring gives 2,000 of its samples (its models may draw fresh ones with
    :func:`sample_ring`); the digits are the training part of ``datasets.digits(seed=0)``, from
    0 to 1.

    Raises:
        ValueError: unknown task.

    Examples:
        >>> training_data("digits").shape
        (1437, 64)
    """
    return _task(task).train


def score(task: str, samples: Any) -> dict[str, float]:
    """Measure generated samples against real ones that no model has seen.

    Args:
        task: "ring" or "digits".
        samples: as many as :data:`DRAWS` says or more (the rest is ignored), shape (n, 2) or
            (n, 64).

    Returns:
        ring: ``modes`` reached (at least 2 % of the samples within 0.3 of it), the share ``near``
        any, the ``exact`` Wasserstein distance of 500 samples from 500 real ones, and the
        ``sliced`` one of all. digits: the ``frechet`` distance on the 32 hidden features of a
        small classifier, the ``sliced`` distance of the pixels, and ``novelty``, the median
        distance to the nearest training picture over that of held-out pictures: about 0 for
        copies, 1 for new pictures that are like the real ones.

    Raises:
        ValueError: unknown task, too few samples, a wrong shape, or values that are not finite.

    Examples:
        >>> found = score("ring", sample_ring(np.random.default_rng(1), 2000))
        >>> found["modes"], found["near"] > 0.97
        (8.0, True)
    """
    real = _task(task)
    samples = np.asarray(samples, dtype=float)
    count = DRAWS[task]
    if samples.ndim != 2 or samples.shape[1] != real.test.shape[1] or len(samples) < count:
        raise ValueError(
            f"samples must have shape (n, {real.test.shape[1]}) with n >= {count} for the task "
            f"{task!r}, got {samples.shape}"
        )
    samples = samples[:count]
    if not np.isfinite(samples).all():
        raise ValueError("samples must be finite, got nan or infinity: the training diverged")
    sliced = distances.sliced_wasserstein(samples, real.test, 32)
    if task == "ring":
        found = distances.mode_coverage(samples, CENTERS, 0.3)
        exact = distances.wasserstein1_exact(samples[:500], real.test[:500])
        return {"modes": float(found.modes), "near": found.quality, "exact": exact,
                "sliced": sliced}  # fmt: skip
    frechet = distances.frechet_distance(_features(samples), _features(real.test))
    return {"frechet": frechet, "sliced": sliced, "novelty": _novelty(samples)}


def row(name: str, task: str, samples: Iterable[Any], passes: int = 0) -> Entry:
    """Measure one sample per seed.

    Args:
        name: what made them.
        task: "ring" or "digits".
        samples: for each seed what :func:`score` takes; at least five seeds, or the spread that
            the table shows says little.
        passes: what one training took.

    Raises:
        ValueError: as :func:`score`, fewer than five seeds, or more passes than the budget.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> fresh = row("fresh real samples", "ring", [sample_ring(rng, 2000) for _ in range(5)])
        >>> fresh.scores["modes"]
        [8.0, 8.0, 8.0, 8.0, 8.0]
    """
    if passes > BUDGET:
        raise ValueError(f"passes must be at most the budget of {BUDGET}, got {passes}")
    found = [score(task, sample) for sample in samples]
    if len(found) < 5:
        raise ValueError(f"samples must hold one array for each of 5 seeds or more: {len(found)}")
    return Entry(name, {key: [one[key] for one in found] for key in COLUMNS[task]}, int(passes))


@cache
def rivals(task: str) -> tuple[Entry, ...]:
    """The rows that no network was trained for, from the worst informed to the best.

    The ring has a bare circle of the right radius and spread. Both tasks have one normal
    distribution with the moments of :func:`training_data`, a kernel density whose width
    cross-validation chose, and last the floor: real samples that no model has seen (of the
    digits, the training pictures).

    Raises:
        ValueError: unknown task.

    Examples:
        >>> [rival.name for rival in rivals("ring")]
        ['bare circle', 'one normal distribution', 'kernel density', 'fresh real samples']
    """
    train, count, seeds = _task(task).train, DRAWS[task], range(5)
    rngs = [np.random.default_rng([17, seed]) for seed in seeds]
    made = {}
    if task == "ring":
        made["bare circle"] = [_circle(rng, count) for rng in rngs]
    moments = train.mean(axis=0), np.cov(train.T)
    made["one normal distribution"] = [rng.multivariate_normal(*moments, count) for rng in rngs]
    density = KernelDensity(bandwidth=kernel_width(task)).fit(train)
    made["kernel density"] = [density.sample(count, random_state=seed) for seed in seeds]
    if task == "ring":
        made["fresh real samples"] = [sample_ring(rng, count) for rng in rngs]
    else:  # bounded like pixels; the floor has no seeds, the pictures are given
        made = {name: [np.clip(x, 0, 1) for x in drawn] for name, drawn in made.items()}
        made["the training pictures"] = [rng.permutation(train)[:count] for rng in rngs]
    return tuple(row(name, task, samples) for name, samples in made.items())


def kernel_width(task: str) -> float:
    """The width of the kernel density that five-fold cross-validation likes best.

    Raises:
        ValueError: unknown task.

    Examples:
        >>> round(kernel_width("ring"), 3)
        0.063
    """
    search = GridSearchCV(KernelDensity(), {"bandwidth": WIDTHS}, cv=5)
    return float(search.fit(_task(task).train[:1000]).best_params_["bandwidth"])


def markdown(task: str, rows: Sequence[Entry]) -> str:
    """The table of a task in a chapter: one number a seed.

    Args:
        task: "ring" or "digits".
        rows: models first, rivals after them.

    Raises:
        ValueError: unknown task, or a row of another task.

    Examples:
        >>> print(markdown("ring", [Entry("a", dict.fromkeys(COLUMNS["ring"], [1.0, 2.0]), 19)]))
        | | passes | modes of 8 | share near a mode | exact $W_1$ | sliced $W_1$ |
        |---|---|---|---|---|---|
        | a | 19 | 1, 2 | 1.00, 2.00 | 1.00, 2.00 | 1.00, 2.00 |
    """
    columns = _columns(task, rows)
    lines = [_line(["", "passes", *columns.values()]), "|" + "---|" * (len(columns) + 2)]
    for one in rows:
        cells = [", ".join(_number(key, v) for v in one.scores[key]) for key in columns]
        lines.append(_line([one.name, _passes(one), *cells]))
    return "\n".join(lines)


def ranking(
    task: str,
    rows: Sequence[Entry],
    origins: Sequence[str],
    say: Callable[[str], str] = str,
) -> str:
    """The table of a task on the page of the part: all rows, best first, middle and range.

    The ring goes by the exact Wasserstein distance, the digits by the Fréchet distance.

    Args:
        task: "ring" or "digits".
        rows: models and rivals, in any order.
        origins: the chapter of each row, "" for a rival, which is set in italics.
        say: gives the head of a column in the language of the page.

    Raises:
        ValueError: unknown task, a row of another task, or another number of origins than rows.

    Examples:
        >>> ring = COLUMNS["ring"]
        >>> far = Entry("far", dict.fromkeys(ring, [2.0, 4.0]), 19)
        >>> near = Entry("near", dict.fromkeys(ring, [1.0]))
        >>> print(ranking("ring", [far, near], ["6163", ""]))
        | | from | passes | modes of 8 | share near a mode | exact $W_1$ | sliced $W_1$ |
        |---|---|---|---|---|---|---|
        | *near* | | – | 1 | 1.00 | 1.00 | 1.00 |
        | far | 6163 | 19 | 3 (2–4) | 3.00 (2.00–4.00) | 3.00 (2.00–4.00) | 3.00 (2.00–4.00) |
    """
    columns = _columns(task, rows)
    if len(origins) != len(rows):
        raise ValueError(f"origins must name one chapter per row, got {len(origins)}")
    heads = ["", *map(say, ("from", "passes", *columns.values()))]
    lines = [_line(heads), "|" + "---|" * len(heads)]
    pairs = zip(rows, origins, strict=True)
    for one, origin in sorted(pairs, key=lambda pair: np.median(pair[0].scores[_MAIN[task]])):
        cells = [_middle(key, one.scores[key]) for key in columns]
        name = one.name if origin else f"*{one.name}*"
        lines.append(_line([name, origin, _passes(one), *cells]))
    return "\n".join(lines)


def show(task: str, rows: Sequence[Entry]) -> None:
    """Display the rows of a chapter above those of the rivals, and leave them for the part's page.

    Args:
        task: "ring" or "digits".
        rows: of :func:`row`.

    Raises:
        ValueError: as :func:`markdown`, or no row.

    Examples:
        >>> show("ring", [])
        Traceback (most recent call last):
            ...
        ValueError: rows must hold a model, got none
    """
    from IPython.display import display

    if not rows:
        raise ValueError("rows must hold a model, got none")
    table = markdown(task, [*rows, *rivals(task)])
    models, others = ([one._asdict() for one in part] for part in (rows, rivals(task)))
    record = {"task": task, "rows": models, "rivals": others}
    display({mime.YARDSTICK_MIME: record, "text/markdown": table, "text/plain": table}, raw=True)


class _Task(NamedTuple):
    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray


@cache
def _task(task: str) -> _Task:
    if _checks.choice("task", task, TASKS) == "ring":
        train, test = (sample_ring(np.random.default_rng([17, 8, k]), 2000) for k in (0, 1))
        return _Task(train, test, np.zeros(len(train)))
    (train, labels), (test, _) = datasets.digits(seed=0)
    return _Task(*(np.asarray(x) for x in (train, test, labels)))


@cache
def _judge() -> MLPClassifier:
    digits = _task("digits")
    judge = MLPClassifier((64, 32), max_iter=300, tol=1e-3, random_state=0)
    return judge.fit(digits.train, digits.labels)


def _features(pictures: np.ndarray) -> np.ndarray:
    """The last hidden layer of the classifier."""
    for weights, bias in list(zip(_judge().coefs_, _judge().intercepts_, strict=True))[:-1]:
        pictures = np.maximum(pictures @ weights + bias, 0)
    return pictures


def _novelty(pictures: np.ndarray) -> float:
    digits = _task("digits")
    nearest = NearestNeighbors(n_neighbors=1).fit(digits.train)
    found, real = (np.median(nearest.kneighbors(x)[0]) for x in (pictures, digits.test))
    return float(found / real)


def _circle(rng: np.random.Generator, count: int) -> np.ndarray:
    turn = 2 * np.pi * rng.random(count)
    circle = 2 * np.column_stack([np.cos(turn), np.sin(turn)])
    return circle + 0.1 * rng.normal(size=(count, 2))


def _columns(task: str, rows: Sequence[Entry]) -> dict[str, str]:
    columns = COLUMNS[_checks.choice("task", task, TASKS)]
    for one in rows:
        if set(one.scores) != set(columns):
            raise ValueError(f"rows must be of the task {task!r}, got {one.name!r} of another")
    return columns


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def _passes(one: Entry) -> str:
    return f"{one.passes:,}" if one.passes else "–"


def _number(key: str, value: float) -> str:
    return f"{value:.{_DECIMALS.get(key, 2)}f}"


def _middle(key: str, values: Sequence[float]) -> str:
    middle, low, high = (_number(key, f(values)) for f in (np.median, min, max))
    return middle if low == high else f"{middle} ({low}–{high})"
