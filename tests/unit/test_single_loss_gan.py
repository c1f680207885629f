"""A GAN from one loss: its gradients against two losses, its refusals; once more on JAX."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import layers, ops  # noqa: E402

from kexian_utils.models import SingleLossGAN  # noqa: E402

pytestmark = pytest.mark.backends

RNG = np.random.default_rng(0)
REAL, NOISE = (RNG.normal(size=(16, n)).astype("float32") for n in (2, 3))


def players(*inside):
    keras.utils.set_random_seed(1)
    generator = keras.Sequential(
        [keras.Input((3,)), layers.Dense(8, "tanh"), layers.Dense(2)], name="generator"
    )
    discriminator = keras.Sequential(
        [keras.Input((2,)), layers.Dense(8, "tanh"), *inside, layers.Dense(1)],
        name="discriminator",
    )
    return generator, discriminator


def moves(model, rate=0.1):
    """How one step of gradient descent changes generator and discriminator."""
    model.compile(keras.optimizers.SGD(rate), jit_compile=False)
    parts = (model.generator, model.discriminator)
    before = [[ops.convert_to_numpy(v) for v in p.trainable_variables] for p in parts]
    loss = model.train_on_batch((REAL, NOISE), return_dict=True)["loss"]
    after = [[ops.convert_to_numpy(v) for v in p.trainable_variables] for p in parts]
    return loss, [
        np.concatenate([(b - a).ravel() / rate for a, b in zip(x, y, strict=True)])
        for x, y in zip(before, after, strict=True)
    ]


# Of one number each: scores of real samples r and generated ones f, in plain NumPy.
LOSSES = {
    "hinge": (
        lambda r, f: np.maximum(0, 1 + r).mean() + np.maximum(0, 1 - f).mean(),
        lambda f: f.mean(),
    ),
    "non-saturating": (
        lambda r, f: np.log1p(np.exp(r)).mean() + np.log1p(np.exp(-f)).mean(),
        lambda f: np.log1p(np.exp(f)).mean(),
    ),
    "least squares": (
        lambda r, f: ((r + 1) ** 2).mean() + ((f - 1) ** 2).mean(),
        lambda f: ((f + 1) ** 2).mean(),
    ),
}


def network(weights, x):
    (first, a), (last, b) = weights[:2], weights[2:]
    return np.tanh(x @ first + a) @ last + b


def slopes(function, weights):
    """Central differences in float64."""
    found = []
    for weight in weights:
        for index in np.ndindex(weight.shape):
            kept, values = weight[index], []
            for step in (1e-5, -1e-5):
                weight[index] = kept + step
                values.append(function())
            weight[index] = kept
            found.append((values[0] - values[1]) / 2e-5)
    return np.array(found)


@pytest.mark.parametrize("objective", LOSSES)
def test_each_player_descends_its_own_loss(objective):
    generator, discriminator = players()
    model = SingleLossGAN(generator, discriminator, weight=3.0, objective=objective)
    of_g, of_d = (
        [ops.convert_to_numpy(v).astype(float) for v in p.trainable_variables]
        for p in (generator, discriminator)
    )
    first, second = LOSSES[objective]

    def scores():
        fake = network(of_g, NOISE.astype(float))
        return network(of_d, REAL.astype(float))[:, 0], network(of_d, fake)[:, 0]

    wanted_d = slopes(lambda: first(*scores()), of_d)
    wanted_g = slopes(lambda: second(scores()[1]), of_g)
    loss, (moved_g, moved_d) = moves(model)
    assert loss == pytest.approx(first(*scores()), rel=1e-5)  # whatever the weight
    np.testing.assert_allclose(moved_d, -wanted_d, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(moved_g, -3 * wanted_g, rtol=1e-3, atol=1e-5)


def test_dropout_is_refused_or_shared():
    with pytest.raises(ValueError, match="share_scores=True"):
        SingleLossGAN(*players(layers.Dropout(0.5, seed=1, name="noisy")))
    SingleLossGAN(*players(layers.Dropout(0.0)))  # draws nothing
    found = [
        moves(SingleLossGAN(*players(layers.Dropout(0.5, seed=1)), weight, share_scores=True))
        for weight in (1.0, 50.0)
    ]
    assert found[0][0] == found[1][0]  # the term is 0 in every digit
    np.testing.assert_allclose(found[0][1][1], found[1][1][1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(50 * found[0][1][0], found[1][1][0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("share", "count"), [(True, 1), (False, 2)])
def test_stored_averages_count_generated_samples_once_if_shared(share, count):
    generator, discriminator = players()
    keeper = keras.Sequential(
        [keras.Input((2,)), layers.BatchNormalization(momentum=0.75), discriminator]
    )
    model = SingleLossGAN(generator, keeper, share_scores=share)
    fake = ops.convert_to_numpy(generator(NOISE)).mean(axis=0)
    moves(model)
    wanted = REAL.mean(axis=0) / 4
    for _ in range(count):
        wanted = 0.75 * wanted + 0.25 * fake
    found = ops.convert_to_numpy(keeper.layers[0].moving_mean)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_it_fits_evaluates_and_is_saved(tmp_path):
    rng = np.random.default_rng(2)
    real = (3 + 0.1 * rng.normal(size=(512, 2))).astype("float32")
    noise = rng.normal(size=(512, 3)).astype("float32")
    model = SingleLossGAN(*players(layers.Dropout(0.1, seed=3)), share_scores=True)
    model.compile(keras.optimizers.Adam(0.01))
    history = model.fit((real, noise), epochs=2, batch_size=64, verbose=0).history
    assert sorted(history) == ["fake_score", "loss", "real_score"]
    made = model.predict((real, noise), verbose=0)
    assert made.shape == (512, 2)
    assert np.isfinite(made).all()
    real_low = model.evaluate((real, noise), verbose=0, return_dict=True)
    assert set(real_low) == {"fake_score", "loss", "real_score"}
    model.save(tmp_path / "gan.keras")
    again = keras.saving.load_model(tmp_path / "gan.keras")
    np.testing.assert_allclose(again.predict((real, noise), verbose=0), made, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"weight": 0}, "weight"), ({"weight": float("nan")}, "weight"),
     ({"objective": "wasserstein"}, "objective")],
)  # fmt: skip
def test_arguments_outside_their_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SingleLossGAN(*players(), **arguments)


def test_nan_comes_out_as_nan():
    generator, discriminator = players()
    model = SingleLossGAN(generator, discriminator)
    model.compile(keras.optimizers.SGD(0.0))
    spoilt = REAL.copy()
    spoilt[0, 0] = np.nan
    assert np.isnan(model.train_on_batch((spoilt, NOISE), return_dict=True)["loss"])


def test_spectral_normalization_is_refused():
    """Its matrix changes with every call: the term would move the discriminator, unseen."""
    with pytest.raises(ValueError, match="change with every call"):
        SingleLossGAN(*players(layers.SpectralNormalization(layers.Dense(4))), share_scores=True)
