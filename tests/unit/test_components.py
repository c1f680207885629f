"""Every public Keras component keeps the contract; a component that is not tried here fails.

The second half plants a fault per promise: the harness must see each of them.
"""

import component_contract as contract
import keras
import numpy as np
import pytest
from component_contract import BATCH, Example, LayerExample
from keras import ops

from kexian_utils import layers, losses, models, optimizers

pytestmark = pytest.mark.backends
LAYERS = {
    "BatchCenter": [LayerExample(layers.BatchCenter, {"momentum": 0.9}, (3,)),
                    LayerExample(layers.BatchCenter, {"axis": 1}, (3, 2))],
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
    "MitchellDense": [
        LayerExample(layers.MitchellDense, {"units": 2, "activation": "tanh"}, (3,)),
        LayerExample(layers.MitchellDense, {"units": 2, "use_bias": False}, (4, 3)),
    ],
}  # fmt: skip
LOSSES = {"MultilabelCategoricalCrossentropy": Example(losses.MultilabelCategoricalCrossentropy)}
OPTIMIZERS = {
    "AdaX": Example(optimizers.AdaX, {"learning_rate": 0.1, "beta_2": 0.01}),
    "MomentumAccumulatedSGD": Example(
        optimizers.MomentumAccumulatedSGD, {"learning_rate": 0.1, "accumulation_steps": 2}
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
MODELS = [("AdversarialModel", norm) for norm in ("none", "l2", "linf")]
MODELS += [("VirtualAdversarialModel", None)]
TRIED = {*LAYERS, *LOSSES, *OPTIMIZERS, *SCHEDULES, *(name for name, _ in MODELS)}


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


@pytest.mark.parametrize("name", LOSSES)
def test_loss(name, tmp_path):
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(BATCH, 3)).astype("float32")
    targets = (rng.random((BATCH, 3)) < 0.5).astype("float32")
    contract.check_loss(LOSSES[name], targets, outputs, tmp_path)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(name, tmp_path):
    contract.check_optimizer(OPTIMIZERS[name], tmp_path)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name):
    contract.check_schedule(SCHEDULES[name])


@pytest.mark.parametrize(("name", "norm"), MODELS)
def test_model(name, norm, tmp_path):
    rng = np.random.default_rng(0)

    def make(policy):
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
