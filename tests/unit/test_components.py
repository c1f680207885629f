"""Every public Keras component keeps the contract; a component that is not tried here fails.

The second half plants a fault per promise: the harness must see each of them.
"""

import component_contract as contract
import keras
import numpy as np
import pytest
from component_contract import BATCH, Example, LayerExample
from keras import ops
from on_jax import NUMERICAL

from kexian_utils import callbacks, layers, losses, models, optimizers, regularizers

pytestmark = [pytest.mark.backends, NUMERICAL]


class OfLayers(LayerExample):
    """A layer made of layers: each example has its own."""

    def make(self, **changes):
        inside = [type(x).from_config(x.get_config()) for x in self.arguments["layers"]]
        return super().make(layers=inside, **changes)


LAYERS = {
    "BatchCenter": [LayerExample(layers.BatchCenter, {"momentum": 0.9}, (3,)),
                    LayerExample(layers.BatchCenter, {"axis": 1}, (3, 2))],
    "CenterDistances": [
        LayerExample(
            layers.CenterDistances, {"units": 4, "centers_initializer": "he_normal"}, (5, 3)
        ),
    ],
    "DilatedGatedConv1D": [
        LayerExample(
            layers.DilatedGatedConv1D, {"filters": width, "dilation_rate": 2, "residual": kind},
            (7, 3), masked=True,
        )
        for width, kind in ((3, "highway"), (5, "additive"), (4, None))
    ],
    "AttentionPooling1D": [
        LayerExample(layers.AttentionPooling1D, {"units": units}, (7, 3), masked=True)
        for units in (None, 5)
    ],
    "ScaledParameterization": [
        LayerExample(
            layers.ScaledParameterization, {"scale": 0.5}, (3,),
            factory=lambda dtype=None, **given: layers.ScaledParameterization(
                keras.layers.Dense(2, activation="tanh", dtype=dtype), dtype=dtype, **given
            ),
        ),
        LayerExample(
            layers.ScaledParameterization, {"scale": 3.0}, (5, 2),
            factory=lambda dtype=None, **given: layers.ScaledParameterization(
                keras.layers.LSTM(3, dtype=dtype), dtype=dtype, **given
            ),
        ),
    ],
    "MitchellDense": [
        LayerExample(layers.MitchellDense, {"units": 2, "activation": "tanh"}, (3,)),
        LayerExample(layers.MitchellDense, {"units": 2, "use_bias": False}, (4, 3)),
    ],
    "SelfTerminating": [
        LayerExample(
            layers.SelfTerminating, {"units": 4, "end": 3, "epsilon": 0.1}, (7, 3), masked=True
        ),
    ],
    "GradientNormalizedCritic": [
        LayerExample(
            layers.GradientNormalizedCritic, {"kind": kind, "epsilon": 0.2}, sample,
            factory=lambda dtype=None, sample=sample, **given: layers.GradientNormalizedCritic(
                keras.Sequential(
                    [keras.layers.Flatten(), keras.layers.Dense(5, "tanh", dtype=dtype),
                     keras.layers.Dense(1, dtype=dtype)]
                ),
                dtype=dtype, **given,
            ),
        )
        for kind, sample in (("gn", (3,)), ("gran", (2, 2, 1)), ("raw", (3,)))
    ],
    "Sampling": [
        # without noise, which XLA draws in its own way
        LayerExample(layers.Sampling, {"kl_weight": 0.1, "temperature": 0.0}, (6,)),
        LayerExample(layers.Sampling, {"kl_weight": 0.0, "temperature": 0.0}, (3, 4)),
    ],
    "RematBlock": [
        OfLayers(
            layers.RematBlock,
            {"layers": [keras.layers.Dense(4, "tanh"), keras.layers.LayerNormalization(),
                        keras.layers.Dense(2)]},
            (3,),
        ),
    ],
}  # fmt: skip


@keras.saving.register_keras_serializable(package="kexian_utils_tests")
def driven_decay(state, inputs):
    return inputs - state


CELLS = {
    name: LayerExample(
        getattr(layers, name), {"rhs": driven_decay, "step_size": 0.1, "num_states": 2}, (5, 2)
    )
    for name in ("EulerCell", "RungeKuttaCell")
}
LOSSES = {
    "MultilabelCategoricalCrossentropy": Example(losses.MultilabelCategoricalCrossentropy),
    "SoftAccuracyLoss": Example(losses.SoftAccuracyLoss, {"from_logits": True}),
    "SoftF1Loss": Example(losses.SoftF1Loss, {"from_logits": True}, of_the_batch=True),
    "MarginCrossentropy": Example(losses.MarginCrossentropy, {"margin": 0.7}),
    "SoftTruncatedCrossentropy": Example(losses.SoftTruncatedCrossentropy, {"sharpness": 2.0}),
    "CategoricalSoftTruncatedCrossentropy": Example(
        losses.CategoricalSoftTruncatedCrossentropy, {"sharpness": 2.0}
    ),
    # A scale at which differences of a thousand have a loss that float16 can hold.
    "QPCriticLoss": Example(losses.QPCriticLoss, {"lam": 1000.0}),
}


def adax_loop(w, gradients):
    """Article 7387, equation (2)."""
    m, v = np.zeros((2, *w.shape))
    for t, g in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * g, 1.01 * v + 0.01 * g**2
        w = w - 0.1 * m / (np.sqrt(v / (1.01**t - 1)) + 1e-7)
    return w


def momentum_loop(w, gradients):
    """Momentum of the means of pairs."""
    m = 0
    for first, second in zip(gradients[::2], gradients[1::2], strict=True):
        m = 0.9 * m + 0.1 * (first + second) / 2
        w = w - 0.1 * m
    return w


def rates_loop(w, gradients):
    """Plain descent with a quarter of the rate 0.1, and its decay."""
    for g in gradients:
        w = w - 0.025 * (0.2 * w) - 0.025 * g
    return w


QUARTER = {".*kernel|variable.*": 0.25}


def rates(**inner):
    rule = {"learning_rate": 0.1, "weight_decay": 0.2, **inner}
    return {"inner_optimizer": {"class_name": "SGD", "config": rule}, "multipliers": QUARTER}


OPTIMIZERS = {
    "AdaX": (
        Example(optimizers.AdaX, {"learning_rate": 0.1, "beta_2": 0.01}),
        adax_loop,
        lambda k: optimizers.AdaX(0.1, gradient_accumulation_steps=k if k > 1 else None),
    ),
    "LayerwiseRates": (
        Example(optimizers.LayerwiseRates, rates()),
        rates_loop,
        lambda k: optimizers.LayerwiseRates(
            **rates(gradient_accumulation_steps=k if k > 1 else None)
        ),
    ),
    "MomentumAccumulatedSGD": (
        Example(optimizers.MomentumAccumulatedSGD, {"learning_rate": 0.1, "accumulation_steps": 2}),
        momentum_loop,
        lambda k: optimizers.MomentumAccumulatedSGD(0.1, accumulation_steps=k),
    ),
}
SCHEDULES = {
    "PerUpdateSchedule": Example(
        optimizers.PerUpdateSchedule,
        {
            "schedule": keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9),
            "accumulation_steps": 3,
        },
    ),
}
REGULARIZERS = {
    "LogNormRegularizer": (
        Example(
            regularizers.LogNormRegularizer, {"coefficient": 0.3, "direction_coefficient": 0.1}
        ),
        lambda w: 0.3 * np.log(np.linalg.norm(w)) + 0.1 * np.abs(w / np.linalg.norm(w)).sum(),
    ),
}
# What leaves a training as it is: the last epoch is the best, the variable is set to what it is.
CALLBACKS = {
    "BestWeights": lambda model: callbacks.BestWeights(lambda m: float(m.optimizer.iterations)),
    "ScheduledVariable": lambda model: callbacks.ScheduledVariable(
        model.optimizer.variables[1], lambda epoch: 0.05
    ),
}
MODELS = [("AdversarialModel", norm) for norm in ("none", "l2", "linf")]
MODELS += [("VirtualAdversarialModel", None), ("SingleLossGAN", None)]
TRIED = {
    *(*LAYERS, *CELLS, *LOSSES, *OPTIMIZERS, *SCHEDULES, *REGULARIZERS, *CALLBACKS),
    *(name for name, _ in MODELS),
}


def test_every_component_is_under_the_contract():
    assert set(contract.found()) == TRIED
    kinds = {name: kind for name, (kind, _) in contract.found().items()}
    assert all(kinds[name] == "layer" for name in LAYERS)
    assert all(kinds[name] == "loss" for name in LOSSES)


@pytest.mark.parametrize(
    "example", [e for examples in LAYERS.values() for e in examples],
    ids=[f"{n}-{i}" for n, examples in LAYERS.items() for i in range(len(examples))],
)  # fmt: skip
def test_layer(example, tmp_path):
    contract.check_layer(example, tmp_path)


@pytest.mark.parametrize("name", CELLS)
def test_cell(name, tmp_path):
    contract.check_cell(CELLS[name], tmp_path)


@pytest.mark.parametrize("name", LOSSES)
def test_loss(name, tmp_path):
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(BATCH, 3)).astype("float32")
    targets = (rng.random((BATCH, 3)) < 0.5).astype("float32")
    contract.check_loss(LOSSES[name], targets, outputs, tmp_path)


def by_hand(y, s):
    """Equations (10) and (14) of article 7359, without a thought of overflow."""
    return np.log1p(np.sum((1 - y) * np.exp(s))) + np.log1p(np.sum(y * np.exp(-s)))


def by_pairs(y, s):
    return np.log1p(sum(np.exp(a - b) for a in s[y == 0] for b in s[y == 1]))


def softplus(x):
    return np.log1p(np.exp(x))


def margin(y, s):
    return (2 * y - 1) * s


def by_softmax(y, s):
    p = np.exp(s) / np.exp(s).sum()
    return -(1 - p @ y) * np.log(p @ y)


# What the loss of a sample is, from its labels and outputs; and the kind of labels.
LOSS_FUNCTIONS = {
    "multilabel_categorical_crossentropy": (by_hand, "many"),
    "sparse_multilabel_categorical_crossentropy": (
        lambda y, s: by_hand(np.isin(np.arange(3), y), s), "indices"),
    "unified_pair_loss": (by_pairs, "many"),
    "hard_truncated_crossentropy": (
        lambda y, s: (margin(y, s) < 0) * softplus(-margin(y, s)), "many"),
    "margin_crossentropy": (
        lambda y, s: np.maximum(0, softplus(-margin(y, s)) + np.log(0.6)), "many"),
    "soft_truncated_crossentropy": (
        lambda y, s: softplus(-margin(y, s)) / (1 + np.exp(margin(y, s))), "many"),
    "categorical_soft_truncated_crossentropy": (by_softmax, "one"),
}  # fmt: skip
LABELS = {"many": [[1, 0, 0], [0, 1, 1], [1, 0, 1], [0, 0, 1]], "indices": [[0], [2], [1], [0]],
          "one": [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]]}  # fmt: skip


def test_every_loss_function_is_under_the_contract():
    assert set(contract.loss_functions(losses)) == set(LOSS_FUNCTIONS)


@pytest.mark.parametrize("name", LOSS_FUNCTIONS)
def test_loss_function(name):
    reference, kind = LOSS_FUNCTIONS[name]
    outputs = 2 * np.random.default_rng(0).normal(size=(BATCH, 3)).astype("float32")
    contract.check_loss_function(getattr(losses, name), reference, np.array(LABELS[kind]), outputs)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(name, tmp_path):
    example, reference, accumulating = OPTIMIZERS[name]
    contract.check_optimizer(example, tmp_path, reference, accumulating)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name):
    contract.check_schedule(SCHEDULES[name])


@pytest.mark.parametrize("name", REGULARIZERS)
def test_regularizer(name, tmp_path):
    contract.check_regularizer(*REGULARIZERS[name], tmp_path)


@pytest.mark.parametrize("name", CALLBACKS)
def test_callback(name):
    contract.check_callback(CALLBACKS[name])


@pytest.mark.parametrize(("name", "norm"), MODELS)
def test_model(name, norm, tmp_path):
    rng = np.random.default_rng(0)

    def make(policy):
        if name == "SingleLossGAN":  # from noise of 3 numbers to samples of 1
            widths = {"generator": (3, 2, 1), "discriminator": (1, 4, 1)}
            players = {
                part: keras.Sequential(
                    [
                        keras.Input((first,), dtype="float32"),
                        keras.layers.Dense(middle, activation="tanh", dtype=policy),
                        keras.layers.Dense(last, dtype=policy),
                    ]
                )
                for part, (first, middle, last) in widths.items()
            }
            return models.SingleLossGAN(**players, weight=0.5, objective="non-saturating")
        inner = keras.Sequential(
            [
                keras.Input((3,), dtype="float32"),
                keras.layers.Identity(name="input", dtype="float32"),
                keras.layers.Dense(2, activation="tanh", dtype=policy),
                keras.layers.Dense(1, dtype=policy),
            ]
        )
        if name == "VirtualAdversarialModel":
            return models.VirtualAdversarialModel(inner, 0.5, weight=0.1, seed=0)
        return models.AdversarialModel(inner, "input", 0.1, norm=norm)

    x = rng.normal(size=(BATCH, 3)).astype("float32")
    y = rng.normal(size=(BATCH, 1)).astype("float32")
    if name == "SingleLossGAN":
        x = (y, x)  # real samples and noise; targets are ignored
    # Directions are drawn, and XLA draws others.
    tolerance = 2e-2 if name == "VirtualAdversarialModel" else 1e-4
    contract.check_model(make, getattr(models, name), x, y, tmp_path, tolerance)


# -- the harness sees faults ---------------------------------------------------------------------


class Pooling(layers.AttentionPooling1D):
    """What is right, for the faults below to spoil."""


def spoilt(name, **methods):
    kind = type(name, (Pooling,), methods)
    return keras.saving.register_keras_serializable(package="kexian_utils")(kind)


def multiplied_by_the_mask(self, inputs, mask=None):
    scores = ops.matmul(ops.tanh(ops.matmul(inputs, self.kernel)), self.query)
    shown = 1.0 if mask is None else ops.cast(ops.expand_dims(mask, -1), scores.dtype)
    weights = ops.softmax(scores - 3e4 * (1 - shown), axis=1) * shown
    return ops.sum(weights * inputs, axis=1)


def own(change):
    def call(self, inputs, mask=None):
        return change(layers.AttentionPooling1D.call(self, inputs, mask))

    return call


FAULTS = {
    "must hold the argument units": spoilt(
        "Forgetful", get_config=lambda self: keras.layers.Layer.get_config(self)
    ),
    "padding with nan": spoilt("Multiplier", call=multiplied_by_the_mask),
    "NaN in a sample must come out": spoilt(
        "Swallower", call=own(lambda y: ops.where(ops.isnan(y), 0.0, y))
    ),
    "must not depend on the others": spoilt(
        "Mixer", call=own(lambda y: y - ops.mean(y, axis=0, keepdims=True))
    ),
    "shapes must agree": spoilt(
        "Liar", compute_output_shape=lambda self, shape: (shape[0], shape[-1] + 1)
    ),
    "the compute type of": spoilt("Widener", call=own(lambda y: ops.cast(y, "float32"))),
    "must get a gradient": spoilt("Blocker", call=own(lambda y: ops.stop_gradient(y))),
}


@pytest.mark.parametrize("words", FAULTS)
def test_a_faulty_layer_is_seen(words, tmp_path):
    example = LayerExample(FAULTS[words], {"units": 5}, (7, 3), masked=True)
    with pytest.raises(AssertionError, match=words):
        contract.check_layer(example, tmp_path)


class Multilabel(losses.MultilabelCategoricalCrossentropy):
    """What is right, for the faults below to spoil."""


def spoilt_loss(name, **methods):
    kind = type(name, (Multilabel,), methods)
    return keras.saving.register_keras_serializable(package="kexian_utils")(kind)


def cut_off_too_late(self, y_true, y_pred):
    """The branch that is not taken overflows, and its slope is 0 times infinity."""
    exact = Multilabel.call(self, y_true, y_pred)
    near = ops.max(ops.abs(y_pred), axis=-1) < 5
    return exact + ops.where(near, 1e-9 * ops.mean(ops.exp(y_pred), axis=-1), 0.0)


LOSS_FAULTS = {
    "large outputs must not overflow": spoilt_loss(
        "Exploder", call=lambda self, y, s: ops.log(1 + ops.sum(ops.exp(s) + 0 * y, axis=-1))
    ),
    "the gradient of large outputs": spoilt_loss("LateCutter", call=cut_off_too_late),
    "that a mask hides": spoilt_loss(
        "Unmasker", __call__=lambda self, y, s, w=None: Multilabel.__call__(self, y, s + 0, w)
    ),
    "sample_weight must count": spoilt_loss(
        "Leveller", __call__=lambda self, y, s, w=None: Multilabel.__call__(self, y, s)
    ),
    "an empty batch": spoilt_loss(
        "Inventor",
        call=lambda self, y, s: Multilabel.call(self, y, s) if len(s) else ops.zeros(1),
    ),
}


@pytest.mark.parametrize("words", LOSS_FAULTS)
def test_a_faulty_loss_is_seen(words, tmp_path):
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(BATCH, 3)).astype("float32")
    targets = (rng.random((BATCH, 3)) < 0.5).astype("float32")
    with pytest.raises(AssertionError, match=words):
        contract.check_loss(Example(LOSS_FAULTS[words]), targets, outputs, tmp_path)


def test_a_new_component_is_found(tmp_path, monkeypatch):
    package = tmp_path / "grown"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "rooms.py").write_text(
        "import keras\n\n__all__ = ['Square']\n\n\nclass Square(keras.layers.Layer):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import grown

    assert {name: kind for name, (kind, _) in contract.found(grown).items()} == {"Square": "layer"}
