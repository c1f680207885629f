"""The yardstick of the generative models: known samples get the scores that they must have."""

import numpy as np
import pytest

from kexian_utils.datasets import digits
from kexian_utils.generative import yardstick
from kexian_utils.mime import YARDSTICK_MIME


def fresh(count=2000, seed=5):
    return yardstick.sample_ring(np.random.default_rng(seed), count)


def test_one_mode_and_a_shift_score_as_they_must():
    one = yardstick.CENTERS[:1] + 0.1 * np.random.default_rng(0).normal(size=(2000, 2))
    found = yardstick.score("ring", one)
    assert found["modes"] == 1
    assert found["near"] > 0.97
    # From one mode to all eight: seven parts of eight travel the chords of the circle.
    chords = np.linalg.norm(yardstick.CENTERS - yardstick.CENTERS[0], axis=1).mean()
    assert found["exact"] == pytest.approx(chords, rel=0.06)
    far = yardstick.score("ring", fresh() + [30.0, 40.0])
    assert far["modes"] == far["near"] == 0
    assert far["exact"] == pytest.approx(50, rel=0.01)
    assert far["sliced"] == pytest.approx(50 * 2 / np.pi, rel=0.15)


def test_copies_are_told_from_new_pictures():
    train = yardstick.training_data("digits")
    (_, _), (held_out, _) = digits(seed=0)
    copies = yardstick.score("digits", train[:1000])
    assert copies["novelty"] == 0
    noise = yardstick.score("digits", np.random.default_rng(0).random((1000, 64)))
    assert noise["novelty"] > 2
    assert noise["frechet"] > 10 * copies["frechet"]
    new = yardstick.score("digits", np.resize(held_out, (1000, 64)))
    assert new["novelty"] == pytest.approx(1, abs=0.02)
    assert new["frechet"] < 0.1 < copies["frechet"]


def test_rivals_stand_in_the_order_of_what_they_know():
    ring = {row.name: {key: np.median(v) for key, v in row.scores.items()}
            for row in yardstick.rivals("ring")}  # fmt: skip
    assert ring["bare circle"]["modes"] == 8 > ring["one normal distribution"]["modes"]
    order = ["one normal distribution", "bare circle", "fresh real samples"]
    assert [ring[name]["near"] for name in order] == sorted(ring[name]["near"] for name in order)
    digits_ = {row.name: np.median(row.scores["frechet"]) for row in yardstick.rivals("digits")}
    assert digits_["the training pictures"] < digits_["kernel density"]
    assert digits_["kernel density"] < digits_["one normal distribution"]


def test_the_width_of_the_kernel_is_not_at_the_edge_of_what_was_tried():
    for task in yardstick.TASKS:
        assert yardstick.WIDTHS[0] < yardstick.kernel_width(task) < yardstick.WIDTHS[-1]


def test_the_ruler_is_the_same_in_every_chapter():
    """Nothing that a run seeds may move it."""
    first = yardstick.score("ring", fresh())
    np.random.random(3)  # noqa: NPY002  the global state goes on
    assert yardstick.score("ring", fresh()) == first


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: yardstick.score("faces", fresh()), "task must be one of"),
        (lambda: yardstick.score("ring", fresh(100)), "n >= 2000"),
        (lambda: yardstick.score("digits", fresh()), r"\(n, 64\)"),
        (lambda: yardstick.score("ring", fresh() * np.nan), "the training diverged"),
        (lambda: yardstick.row("a", "ring", [fresh()] * 4), "5 seeds or more"),
        (lambda: yardstick.row("a", "ring", [fresh()] * 5, 20_001), "at most the budget"),
        (lambda: yardstick.steps(0), "passes_per_step"),
        (lambda: yardstick.steps(20_001), "at most the budget"),
        (lambda: yardstick.markdown("ring", yardstick.rivals("digits")), "of the task 'ring'"),
        (lambda: yardstick.ranking("ring", yardstick.rivals("ring"), []), "one chapter per row"),
    ],
)
def test_what_is_wrong_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_chapter_shows_its_rows_and_leaves_a_record(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    row = yardstick.row("ours", "ring", [fresh(seed=s) for s in range(5)], 19)
    yardstick.show("ring", [row])
    (data,) = shown
    assert data["text/markdown"].count("\n") == 1 + 1 + len(yardstick.rivals("ring"))
    record = data[YARDSTICK_MIME]
    assert [yardstick.Entry(**one) for one in record["rows"]] == [row]
    assert tuple(yardstick.Entry(**one) for one in record["rivals"]) == yardstick.rivals("ring")
