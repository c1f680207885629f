"""The losses of the page *Losses compared* against Keras, the library and calculus."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from kexian_utils import catalogue, losses  # noqa: E402
from kexian_utils.losses.comparison import (  # noqa: E402
    COMPARED,
    ComparedLoss,
    best_output,
    loss_facts,
)

SHARES = np.array([0.01, 0.2, 0.45, 0.55, 0.9])
EVERY = [(name, at) for name, loss in COMPARED.items() for at in loss.strengths]


def trained_with(path, strength):
    """A Keras loss by its path; those without a parameter ignore `strength`."""
    name = path.rpartition(".")[2]
    own = {} if path.startswith("keras.") else {"reduction": "none"}
    if path.startswith("keras."):
        own = {"reduction": "none", "from_logits": True}
        if "Focal" in name:
            own |= {"gamma": strength, "alpha": 1.0} if "Categ" in name else {"gamma": strength}
        return getattr(keras.losses, name)(**own)
    kinds = {"Margin": "margin", "SoftTruncated": "sharpness"}
    own |= {argument: strength for word, argument in kinds.items() if word in name}
    own |= {"from_logits": True} if name == "SoftAccuracyLoss" else {}
    return getattr(losses, name)(**own)


@pytest.mark.backends
@pytest.mark.parametrize(("name", "strength"), EVERY)
def test_the_formulas_are_what_one_trains_with(name, strength):
    loss, rng = COMPARED[name], np.random.default_rng(0)
    for path in loss.components:
        component = trained_with(path, strength)
        two = "Categorical" not in path and "Accuracy" not in path
        scores = 3 * rng.normal(size=(40, 2 if two else 5))
        target = rng.integers(0, scores.shape[1], size=40)
        if two:  # one logit, for class 1
            found = component(target[:, None].astype("float32"), scores[:, 1:] - scores[:, :1])
        else:
            found = component(np.eye(5, dtype="float32")[target], scores)
        expected = [loss(row, t, strength) for row, t in zip(scores, target, strict=True)]
        np.testing.assert_allclose(
            ops.convert_to_numpy(found), expected, rtol=2e-4, atol=2e-6, err_msg=path
        )


def test_what_they_ask_for():
    np.testing.assert_allclose(best_output(COMPARED["cross-entropy"], 0, SHARES), SHARES, atol=1e-7)
    many = best_output(COMPARED["cross-entropy"], 0, SHARES, 10)
    np.testing.assert_allclose(many, SHARES, atol=1e-7)
    for mu in COMPARED["margin loss"].strengths:
        found = best_output(COMPARED["margin loss"], mu, SHARES)
        np.testing.assert_allclose(found, np.clip(SHARES, 1 - mu, mu), atol=1e-7)
    for gamma in COMPARED["focal loss"].strengths:
        found = best_output(COMPARED["focal loss"], gamma, SHARES)
        known = losses.focal_probability(SHARES, 0.5, gamma)
        np.testing.assert_allclose(found, known, atol=1e-6)
    step = best_output(COMPARED["soft accuracy"], 0, SHARES)
    np.testing.assert_allclose(step, SHARES > 0.5, atol=1e-15)


@pytest.mark.parametrize(("name", "strength"), EVERY)
def test_facts_are_those_that_calculus_gives(name, strength):
    facts = loss_facts(COMPARED[name], strength)
    slope, tail = {
        "cross-entropy": (-0.5, 1),
        "margin loss": (-0.5, np.inf),
        "soft truncation": (-(strength * np.log(2) + 1) / 4, strength + 1),
        "focal loss": (-(0.5**strength) * (1 + strength * np.log(2)) / 2, strength + 1),
        "soft accuracy": (-0.25, 1),
    }[name]
    assert facts.slope_at_zero == pytest.approx(slope, rel=1e-6)
    assert facts.right_tail == pytest.approx(tail, rel=1e-5)
    assert facts.left_slope == pytest.approx(0 if name == "soft accuracy" else -1, abs=1e-5)
    assert facts.calibrated  # the page says so of all
    assert facts.proper == (name == "cross-entropy")
    convex = name in ("cross-entropy", "margin loss") or (name, strength) == ("soft truncation", 2)
    assert facts.convex == convex


def test_the_facts_can_be_otherwise():
    early = ComparedLoss(
        "let go too early", "4293", "", "", (0.4,), (), COMPARED["margin loss"].of_scores
    )
    facts = loss_facts(early, 0.4)  # what is wrong by little is right enough
    assert not facts.calibrated
    assert facts.slope_at_zero == 0
    with pytest.raises(ValueError, match="posterior must lie between"):
        best_output(early, 0.4, [0.2, 1.0])


def test_the_page_shows_all_of_them_and_links_to_what_there_is():
    from pathlib import Path

    from kexian_utils.runner.pages import library
    from kexian_utils.runner.pages import losses as page

    root = Path(__file__).resolve().parents[2]
    known = library.read(root)
    text = page.page(known, catalogue.load(root), {})
    for loss in COMPARED.values():
        assert f"**{loss.name}**" in text
        for path in loss.components:
            assert path.startswith("keras.") or known.find(*path.rsplit(".", 1)) is not None
    assert text.count("kexian-slider") >= 1
    row = next(r for r in page.rows(COMPARED["focal loss"]) if "2$" in r["strength"])
    assert row["2 classes, 0.01"].startswith("15.4")
