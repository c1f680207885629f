"""What every Keras component of the package promises, checked by one harness.

A component is any public layer, loss, optimizer, schedule, model, metric, regularizer, constraint
or initializer. :func:`found` finds them by the modules' ``__all__``; ``test_components.py`` gives
an example of each to the function of its kind below, which raises `AssertionError` with one
sentence where the promise is broken.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

import kexian_utils
from kexian_utils import autodiff

KINDS = {
    "model": keras.Model,
    "layer": keras.layers.Layer,
    "loss": keras.losses.Loss,
    "optimizer": keras.optimizers.Optimizer,
    "schedule": keras.optimizers.schedules.LearningRateSchedule,
    "metric": keras.metrics.Metric,
    "regularizer": keras.regularizers.Regularizer,
    "constraint": keras.constraints.Constraint,
    "initializer": keras.initializers.Initializer,
    "callback": keras.callbacks.Callback,
}
# Commands, and what runs notebooks: no Keras there, and dear to import.
ELSEWHERE = ("kexian_utils.runner", "kexian_utils.commands")
BATCH = 4


def found(package: Any = kexian_utils) -> dict[str, tuple[str, type]]:
    """All public components by name, with their kind."""
    components = {}
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if module.name.startswith(ELSEWHERE):
            continue
        loaded = importlib.import_module(module.name)
        for name in getattr(loaded, "__all__", ()):
            member = getattr(loaded, name)
            if inspect.isclass(member) and member.__module__.startswith(package.__name__):
                kinds = [kind for kind, base in KINDS.items() if issubclass(member, base)]
                if kinds:
                    components[name] = (kinds[0], member)
    return components


@dataclass
class LayerExample:
    """How to try a layer: its arguments, the shape of a sample, and what it promises of masks."""

    component: type
    arguments: dict[str, Any]
    sample: tuple[int, ...]
    masked: bool = False
    inputs: Callable[[np.random.Generator], np.ndarray] | None = None
    factory: Callable[..., Any] | None = None  # where arguments must be new each time

    def make(self, **changes: Any) -> Any:
        return (self.factory or self.component)(**(self.arguments | changes))


@dataclass
class Example:
    """How to try another component."""

    component: type
    arguments: dict[str, Any] = field(default_factory=dict)
    of_the_batch: bool = False  # a loss that is one number for all samples together

    def make(self, **changes: Any) -> Any:
        return self.component(**(self.arguments | changes))


def array(value: Any) -> np.ndarray:
    value = ops.convert_to_numpy(value)
    return value.astype("float32") if value.dtype.name in ("float16", "bfloat16") else value


def agree(found: Any, expected: Any, promise: str, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(
        array(found), array(expected), rtol=tolerance, atol=tolerance, err_msg=promise
    )


# -- what all kinds promise ----------------------------------------------------------------------


def check_config(component: type, example: Any) -> Any:
    """The configuration is JSON, names every argument, and gives the same component again."""
    config = example.get_config()
    json.dumps(config)
    several = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    for name, parameter in inspect.signature(component).parameters.items():
        if parameter.kind not in several:
            assert name in config, f"get_config must hold the argument {name}"
    again = component.from_config(config)
    assert again.get_config() == config, "from_config must give the same configuration"
    packed = keras.saving.serialize_keras_object(example)
    assert packed["registered_name"].startswith("kexian_utils>"), "it must be registered"
    unpacked = keras.saving.deserialize_keras_object(packed)
    assert type(unpacked) is component, "it must be found again by its registered name"
    assert unpacked.get_config() == config, "deserialising must give the same configuration"
    return again


def check_saved(model: keras.Model, x: Any, folder: Any) -> keras.Model:
    """A .keras file gives the same outputs, without custom objects."""
    expected = model.predict(x, verbose=0)
    model.save(folder / "model.keras")
    loaded = keras.saving.load_model(folder / "model.keras")
    agree(loaded.predict(x, verbose=0), expected, "a saved model must give the same", 1e-6)
    return loaded


def fitted(
    make: Callable[[bool], keras.Model], x: Any, y: Any, promise: str, tolerance: float = 1e-4
) -> None:
    """`fit` gives the same numbers with and without XLA, and moves every trainable weight."""
    runs = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        model = make(jit_compile)
        before = [array(v) for v in model.trainable_variables]
        losses = model.fit(x, y, epochs=2, batch_size=BATCH, shuffle=False, verbose=0).history
        after = [array(v) for v in model.trainable_variables]
        assert np.isfinite(losses["loss"]).all(), f"{promise}: the loss must be finite"
        for variable, old, new in zip(model.trainable_variables, before, after, strict=True):
            assert np.isfinite(new).all(), f"{promise}: {variable.path} must stay finite"
            assert (old != new).any(), f"{promise}: {variable.path} must get a gradient"
        runs.append([*losses["loss"], *np.concatenate([w.ravel() for w in after])])
    agree(runs[1], runs[0], f"{promise}: jit_compile must not change it", tolerance)


# -- layers --------------------------------------------------------------------------------------


def check_layer(example: LayerExample, folder: Any) -> None:
    rng = np.random.default_rng(0)
    draw = example.inputs or (lambda g: g.normal(size=(BATCH, *example.sample)).astype("float32"))
    x = draw(rng)
    keras.utils.set_random_seed(0)
    layer = example.make(name="example")
    expected = array(layer(x))
    check_config(example.component, layer)
    assert layer.built, "calling a layer must build it"
    assert layer.name == "example", "name must be passed on"
    assert not example.make(trainable=False).trainable, "trainable must be passed on"

    symbol = keras.Input(example.sample, batch_size=None)
    output = layer(symbol)
    assert output.shape == (None, *expected.shape[1:]), "symbolic and eager shapes must agree"
    assert layer.compute_output_shape((None, *example.sample)) == output.shape, (
        "compute_output_shape must give the shape of the output"
    )
    model = keras.Model(symbol, output)
    agree(model(x), expected, "called symbolically it must give the same")
    agree(model.predict(x, verbose=0), expected, "compiled it must give the same")
    agree(layer(x[:1]), expected[:1], "at inference a sample must not depend on the others")
    agree(check_saved(model, x, folder)(x), expected, "a loaded model must give the same")
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    agree(copy(x), expected, "a clone with the same weights must give the same")

    check_precision(example, layer, x, expected)
    spoilt = x.copy()
    spoilt[(0,) * spoilt.ndim] = np.nan
    after = array(layer(spoilt))
    assert np.isnan(after[0]).any(), "NaN in a sample must come out as NaN"
    agree(after[1:], expected[1:], "NaN in a sample must not touch the others")
    if example.masked:
        check_masks(example, layer, x)

    def make(jit_compile: bool) -> keras.Model:
        inner = [keras.Input(example.sample), example.make(), keras.layers.Flatten()]
        model = keras.Sequential([*inner, keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=jit_compile)
        return model

    fitted(make, x, rng.normal(size=(BATCH, 1)).astype("float32"), "in fit")


def check_precision(example: LayerExample, layer: Any, x: np.ndarray, expected: Any) -> None:
    """Under a mixed policy weights stay float32, outputs have the compute type and nearly agree."""
    for policy, tolerance in (("mixed_float16", 2e-2), ("mixed_bfloat16", 1e-1)):
        half = example.make(dtype=policy)
        output = half(x)
        assert keras.backend.standardize_dtype(output.dtype) == policy[6:], (
            f"the output must have the compute type of {policy}"
        )
        kinds = {v.dtype for v in half.weights if "seed" not in v.path}
        assert kinds <= {"float32"}, f"weights must be float32 under {policy}, got {kinds}"
        half.set_weights(layer.get_weights())
        agree(half(x), expected, f"{policy} must nearly agree with float32", tolerance)


def check_masks(example: LayerExample, layer: Any, x: np.ndarray) -> None:
    """Padding a batch changes no output, whatever stands in the padded places."""
    assert layer.supports_masking, "a layer that takes masks must say so"
    steps, longer = x.shape[1], x.shape[1] + 3
    mask = np.arange(longer) < np.arange(steps, steps - len(x), -1)[:, None]
    expected = [array(layer(x[i : i + 1, : mask[i].sum()]))[0] for i in range(len(x))]
    for content in (0.0, 1e3, np.nan, np.inf):
        padded = np.pad(x, [(0, 0), (0, longer - steps), *[(0, 0)] * (x.ndim - 2)])
        padded[~mask] = content
        outcome = array(layer(padded, mask=mask))
        for i, wanted in enumerate(expected):
            own = outcome[i]
            if own.shape != wanted.shape:  # one output per place
                assert not own[mask[i]].shape[0] - len(wanted)
                assert not own[~mask[i]].any(), f"padded places of {content} must give 0"
                own = own[mask[i]]
            agree(own, wanted, f"padding with {content} must change no output", 1e-4)
        weights = layer.trainable_variables
        if weights:
            slopes = gradients(lambda p=padded: ops.sum(layer(p, mask=mask) ** 2), layer)
            assert all(np.isfinite(s).all() for s in slopes), (
                f"padding with {content} must not reach a gradient"
            )
    nothing = array(layer(x, mask=np.zeros(x.shape[:2], bool)))
    assert np.isfinite(nothing).all(), "a row without any place must give numbers"


def gradients(loss: Callable[[], Any], layer: Any) -> list[np.ndarray]:
    """Gradients of the loss with respect to the layer's trainable weights."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss()
        variables = [v.value for v in layer.trainable_variables]
        slopes = tape.gradient(value, variables, unconnected_gradients="zero")
        return [array(s) for s in slopes]
    import jax

    def of(values: list) -> Any:
        pairs = list(zip(layer.trainable_variables, values, strict=True))
        with keras.StatelessScope(state_mapping=pairs):
            return loss()

    return [array(s) for s in jax.grad(of)([v.value for v in layer.trainable_variables])]


def check_cell(example: LayerExample, folder: Any) -> None:
    """A recurrent cell keeps the promises of a layer when `keras.layers.RNN` runs it."""
    x = np.random.default_rng(0).normal(size=(BATCH, *example.sample)).astype("float32")

    def network(**changes: Any) -> Any:
        return keras.layers.RNN(example.make(**changes), return_sequences=True)

    keras.utils.set_random_seed(0)
    cell = example.make(name="example")
    check_config(example.component, cell)
    assert cell.name == "example", "name must be passed on"
    layer = network()
    expected = array(layer(x))
    symbol = keras.Input(example.sample)
    model = keras.Model(symbol, layer(symbol))
    agree(model.predict(x, verbose=0), expected, "compiled it must give the same")
    agree(layer(x[:1]), expected[:1], "a sample must not depend on the others")
    agree(check_saved(model, x, folder)(x), expected, "a loaded model must give the same")
    spoilt = x.copy()
    spoilt[0, 0, 0] = np.nan
    after = array(layer(spoilt))
    assert np.isnan(after[0, -1]).any(), "NaN in a sample must come out as NaN"
    agree(after[1:], expected[1:], "NaN in a sample must not touch the others")
    mask = np.ones(x.shape[:2], bool)
    mask[:, 1] = False
    shorter = np.delete(x, 1, axis=1)
    agree(layer(x, mask=mask)[:, -1], layer(shorter)[:, -1], "a masked step must be left out")

    def make(jit_compile: bool) -> keras.Model:
        inside = [keras.Input(example.sample), network(), keras.layers.Flatten()]
        model = keras.Sequential([*inside, keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=jit_compile)
        return model

    fitted(make, x, x[:, 0, :1], "in fit")


# -- callbacks -----------------------------------------------------------------------------------


def check_callback(make: Callable[[keras.Model], Any]) -> None:
    """With and without XLA the same; and the same as without it, if it asks for nothing."""
    x = np.random.default_rng(0).normal(size=(BATCH, 3)).astype("float32")
    outcomes = []
    for jit_compile, used in ((False, True), (True, True), (False, False)):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=jit_compile)
        callbacks = [make(model)] if used else []
        losses = model.fit(x, x[:, :1], epochs=2, verbose=0, callbacks=callbacks).history
        assert np.isfinite(losses["loss"]).all(), "the loss must stay finite"
        outcomes.append(losses["loss"])
        if used:
            assert len(losses) > 1, "it must log what it does"
    agree(outcomes[1], outcomes[0], "jit_compile must not change it", 1e-4)
    agree(outcomes[2], outcomes[0], "a callback that asks for nothing must change nothing", 1e-5)


# -- losses --------------------------------------------------------------------------------------


def check_loss(example: Example, targets: np.ndarray, outputs: np.ndarray, folder: Any) -> None:
    """`targets` and `outputs` are of BATCH samples."""
    if example.of_the_batch:
        check_loss_of_the_batch(example, targets, outputs)
    else:
        check_loss_of_samples(example, targets, outputs)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, 3)).astype("float32")

    def make(jit_compile: bool) -> keras.Model:
        layers = [keras.Input((3,)), keras.layers.Dense(int(np.prod(outputs.shape[1:])))]
        model = keras.Sequential([*layers, keras.layers.Reshape(outputs.shape[1:])])
        model.compile(keras.optimizers.SGD(0.1), example.make(), jit_compile=jit_compile)
        return model

    fitted(make, x, targets, "in fit")
    model = make(False)
    model.save(folder / "model.keras")
    loaded = keras.saving.load_model(folder / "model.keras")
    assert type(loaded.loss) is example.component, "compile's loss must be saved with the model"
    agree(loaded.evaluate(x, targets, verbose=0), model.evaluate(x, targets, verbose=0), "saved")


def check_loss_of_the_batch(example: Example, targets: np.ndarray, outputs: np.ndarray) -> None:
    """A weight of 2 must count as a sample that is there twice, and hidden ones not at all."""
    check_config(example.component, example.make(name="example"))
    loss = example.make()
    whole = array(loss(targets, outputs))
    assert whole.shape == (), "it must be one number"
    half = array(example.make(dtype="float16")(targets, outputs.astype("float16")))
    agree(half, whole, "float16 must nearly agree", 2e-2)
    check_loss_far_away(example, targets, outputs)
    weights = np.arange(BATCH) % 3
    twice = np.repeat(np.arange(BATCH), weights)
    weighted = loss(targets, outputs, weights.astype("float32"))
    agree(weighted, loss(targets[twice], outputs[twice]), "sample_weight must count")
    shown = np.arange(BATCH) % 2 == 0
    masked = loss(targets, OddSamplesHidden()(outputs))
    agree(masked, loss(targets[shown], outputs[shown]), "samples that a mask hides must not count")
    assert np.isfinite(array(loss(targets[:0], outputs[:0]))), "an empty batch must have a loss"
    spoilt = outputs.copy()
    spoilt[(0,) * spoilt.ndim] = np.nan
    assert np.isnan(array(loss(targets, spoilt))), "NaN in a sample must come out as NaN"


def check_loss_of_samples(example: Example, targets: np.ndarray, outputs: np.ndarray) -> None:
    single = example.make(reduction="none")
    each = array(single(targets, outputs))
    assert each.shape[0] == BATCH, "reduction='none' must keep the samples"
    check_config(example.component, example.make(name="example"))
    agree(example.make()(targets, outputs), each.mean(), "the default must be the mean")
    agree(example.make(reduction="sum")(targets, outputs), each.sum(), "'sum' must be the sum")
    weights = np.linspace(0.0, 2.0, BATCH).astype("float32")
    weighted = example.make(reduction="sum")(targets, outputs, weights)
    agree(weighted, np.sum(each.T * weights), "sample_weight must count")
    agree(single(targets[:1], outputs[:1]), each[:1], "a sample must not depend on the others")
    half = array(example.make(dtype="float16")(targets, outputs.astype("float16")))
    agree(half, each.mean(), "float16 must nearly agree", 2e-2)
    check_loss_far_away(example, targets, outputs)
    none = array(single(targets[:0], outputs[:0]))
    assert none.shape == each[:0].shape, "an empty batch must give no loss"
    shown = np.arange(BATCH) % 2 == 0
    masked = example.make()(targets, OddSamplesHidden()(outputs))
    agree(masked, each[shown].mean(), "samples that a mask hides must not count")
    spoilt = outputs.copy()
    spoilt[(0,) * spoilt.ndim] = np.nan
    after = array(single(targets, spoilt))
    assert np.isnan(after[0]).any(), "NaN in a sample must come out as NaN"
    agree(after[1:], each[1:], "NaN in a sample must not touch the others")


class OddSamplesHidden(keras.layers.Layer):
    """Hands its inputs on, with a mask that hides every second sample."""

    def call(self, inputs: Any) -> Any:
        return inputs + 0

    def compute_mask(self, inputs: Any, previous: Any = None) -> Any:
        return ops.arange(ops.shape(inputs)[0]) % 2 == 0


def check_loss_far_away(example: Example, targets: np.ndarray, outputs: np.ndarray) -> None:
    """Outputs of some thousands are logits of a network that has diverged, not yet NaN."""
    for dtype in ("float32", "float16"):
        loss = example.make(reduction="sum", dtype=dtype)
        far = (1e3 * np.sign(outputs) + outputs).astype(dtype)
        for signs in (1, -1):
            at = ops.convert_to_tensor(signs * far)
            value = array(loss(targets, at))
            assert np.isfinite(value).all(), f"large outputs must not overflow, {dtype}"
            slope = array(autodiff.gradient(lambda y, loss=loss: loss(targets, y))(at))
            assert np.isfinite(slope).all(), (
                f"the gradient of large outputs must be finite, {dtype}"
            )


def loss_functions(module: Any) -> dict[str, Callable[..., Any]]:
    """The public functions of `module` that take labels and outputs, in this order, by name."""
    found = {}
    for name in module.__all__:
        member = getattr(module, name)
        if inspect.isfunction(member):
            parameters = list(inspect.signature(member).parameters)
            if parameters[:2] in (["y_true", "y_pred"], ["y_true", "logits"], ["y_true", "y_prob"]):
                found[name] = member
    return found


def check_loss_function(
    function: Callable[..., Any],
    reference: Callable[..., Any],
    targets: np.ndarray,
    outputs: np.ndarray,
    least_and_most: tuple[float, float] = (-1e3, 1e3),
) -> None:
    """`reference` gives the loss of one sample, from float64 arrays, in plain NumPy.

    Outputs lie between `least_and_most`: probabilities have other limits than logits.
    """
    expected = np.array([
        np.asarray(reference(t, o), dtype=float)
        for t, o in zip(targets, outputs.astype("float64"), strict=True)
    ])  # fmt: skip
    agree(function(targets, outputs), expected, "it must be the reference", 2e-5)
    half = outputs.astype("float16")
    found = function(targets, half)
    assert "float16" in str(found.dtype), "float16 must stay float16"
    agree(array(found).astype("float64"), expected, "float16 must nearly agree", 2e-2)
    assert array(function(targets[:0], outputs[:0])).shape == expected[:0].shape, (
        "an empty batch must give an empty result"
    )
    spoilt = outputs.copy()
    spoilt[(0,) * spoilt.ndim] = np.nan
    after = array(function(targets, spoilt))
    assert np.isnan(after[0]).any(), "NaN in a sample must come out as NaN"
    agree(after[1:], expected[1:], "NaN in a sample must not touch the others", 2e-5)
    low, high = least_and_most
    for dtype in ("float32", "float16"):
        for far in (
            np.where(outputs > np.median(outputs), high, low),
            np.where(outputs > np.median(outputs), low, high),
        ):
            at = ops.convert_to_tensor(far.astype(dtype))
            assert np.isfinite(array(function(targets, at))).all(), (
                f"large outputs must not overflow, {dtype}"
            )
            slope = array(autodiff.gradient(lambda y: ops.sum(function(targets, y)))(at))
            assert np.isfinite(slope).all(), (
                f"the gradient of large outputs must be finite, {dtype}"
            )


# -- optimizers and schedules --------------------------------------------------------------------


def check_optimizer(
    example: Example,
    folder: Any,
    reference: Callable[[np.ndarray, list[np.ndarray]], np.ndarray],
    accumulating: Callable[[int], Any],
) -> None:
    """`reference` gives the weight after steps with the gradients given, in plain NumPy.

    `accumulating(K)` is a new optimizer that moves after every K gradients, by their mean.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3 * BATCH, 3)).astype("float32")
    y = rng.normal(size=(3 * BATCH, 1)).astype("float32")
    check_config(example.component, example.make(name="example"))

    def make(jit_compile: bool, optimizer: Any = None, policy: str = "float32") -> keras.Model:
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, dtype=policy)])
        model.set_weights([np.array([[0.5], [-1.0], [2.0]]), np.zeros(1)])
        model.compile(optimizer or example.make(), "mse", jit_compile=jit_compile)
        return model

    def train(model: keras.Model, batches: range) -> list[np.ndarray]:
        for i in batches:
            part = slice(BATCH * i, BATCH * (i + 1))
            model.train_on_batch(x[part], y[part])
        return model.get_weights()

    fitted(make, x, y, "in fit")
    straight = np.concatenate([w.ravel() for w in train(make(False), range(3))])
    broken = make(False)
    train(broken, range(2))
    broken.save(folder / "model.keras")
    loaded = keras.saving.load_model(folder / "model.keras")
    assert type(loaded.optimizer) is example.component, "it must be saved with the model"
    resumed = np.concatenate([w.ravel() for w in train(loaded, range(2, 3))])
    agree(resumed, straight, "training that goes on from a file must be the same", 1e-6)

    scaled = keras.optimizers.LossScaleOptimizer(example.make(), initial_scale=1024.0)
    half = train(make(False, scaled, "mixed_float16"), range(3))
    half = np.concatenate([w.ravel() for w in half])
    agree(half, straight, "under a loss scale it must nearly agree", 2e-2)

    plain = example.make()
    weight = keras.Variable(np.ones(2), dtype="float32")
    plain.build([weight])
    state = [v.value for v in plain.variables]
    for _ in range(3):
        plain.apply([ops.convert_to_tensor([1.0, np.nan], "float32")])
    outcome = array(weight)
    assert np.isnan(outcome[1]), "a NaN gradient must come out as NaN"
    assert np.isfinite(outcome[0]), "a NaN in one entry must not touch another"
    assert len(state) == len(plain.variables), "steps must not make new variables"
    check_steps(example, reference, accumulating)


def check_steps(
    example: Example,
    reference: Callable[[np.ndarray, list[np.ndarray]], np.ndarray],
    accumulating: Callable[[int], Any],
) -> None:
    """Steps against a loop in float64, of dense, of sparse and of accumulated gradients."""
    rng = np.random.default_rng(1)
    start, given = rng.normal(size=(4, 2)), list(rng.normal(size=(4, 4, 2)))

    def moved(optimizer: Any, gradients: list[Any]) -> np.ndarray:
        weight = keras.Variable(start.astype("float32"), name="kernel")
        optimizer.build([weight])
        for gradient in gradients:
            optimizer.apply([gradient], [weight])
        return array(weight)

    dense = [ops.convert_to_tensor(g.astype("float32")) for g in given]
    expected = reference(start, given)
    agree(moved(example.make(), dense), expected, "steps must be those of a loop", 2e-5)
    pairs = [given[0], given[0] * 3, given[1], given[1] * 5]  # whose means are 2 and 3 times
    whole = moved(accumulating(1), [2 * dense[0], 3 * dense[1]])
    half = moved(accumulating(2), [ops.convert_to_tensor(g.astype("float32")) for g in pairs])
    agree(half, whole, "accumulated gradients must move as their mean", 2e-5)
    if keras.backend.backend() == "tensorflow":  # a word that stands twice, as from an Embedding
        import tensorflow as tf

        values, words = rng.normal(size=(3, 2)), np.array([2, 0, 2])
        slope = np.zeros((4, 2))
        np.add.at(slope, words, values)
        sparse = tf.IndexedSlices(values.astype("float32"), words, tf.constant([4, 2]))
        rule = [example.make(), example.make()]
        # By a graph, as in training: there Keras hands the optimizer what the tape gives.
        got = [moved(rule[0], [sparse] * 2), moved(rule[1], [slope.astype("float32")] * 2)]
        agree(got[0], got[1], "sparse gradients must move as dense ones", 2e-5)


def check_schedule(example: Example) -> None:
    schedule = example.make()
    again = check_config(example.component, schedule)
    for step in (0, 1, 7, 100):
        value = array(schedule(step))
        assert np.isfinite(value), "a schedule must give a finite rate"
        assert value.shape == (), "a schedule must give one number"
        tensor = ops.convert_to_tensor(step, "int32")
        agree(schedule(tensor), value, "a tensor must give the same rate", 1e-6)
        agree(again(step), value, "from_config must give the same rates", 1e-6)
    optimizer = keras.optimizers.SGD(schedule)
    config = keras.saving.serialize_keras_object(optimizer)
    back = keras.saving.deserialize_keras_object(config)
    assert type(back._learning_rate) is example.component, (
        "an optimizer must be saved with its schedule"
    )


# -- regularizers --------------------------------------------------------------------------------


def slope_by_differences(function: Callable[[np.ndarray], float], at: np.ndarray) -> np.ndarray:
    """Central differences in float64."""
    slope = np.empty(at.shape)
    for place in np.ndindex(at.shape):
        moved = [at.copy(), at.copy()]
        moved[0][place] += 1e-5
        moved[1][place] -= 1e-5
        slope[place] = (function(moved[0]) - function(moved[1])) / 2e-5
    return slope


def check_regularizer(
    example: Example, reference: Callable[[np.ndarray], float], folder: Any
) -> None:
    """`reference` gives the penalty of one weight, a float64 array, in plain NumPy."""
    rng = np.random.default_rng(0)
    penalty = example.make()
    check_config(example.component, penalty)
    for shape in ((3,), (3, 2), (2, 1, 3, 2)):
        weight = rng.normal(size=shape)
        expected = slope_by_differences(reference, weight)
        for dtype, tolerance in (("float32", 2e-5), ("float16", 1e-2)):
            at = ops.convert_to_tensor(weight.astype(dtype))
            agree(penalty(at), reference(weight), f"it must be the reference, {dtype}", tolerance)
            slope = autodiff.gradient(penalty)(at)
            agree(slope, expected, f"its gradient must be the reference's, {dtype}", tolerance)
    check_regularizer_at_the_limits(penalty)

    # Words 1, 1, 2 and 0 of an embedding, whose sum a dense layer reads.
    words, target, rate = np.array([[1, 1], [2, 0]]), np.array([[1.0], [-1.0]]), 0.1
    table, kernel = rng.normal(size=(4, 2)), rng.normal(size=(2, 1))

    def make(jit_compile: bool, policy: str = "float32", steps: int | None = None) -> keras.Model:
        model = keras.Sequential(
            [
                keras.Input((2,), dtype="int32"),
                keras.layers.Embedding(4, 2, embeddings_regularizer=example.make(), dtype=policy),
                keras.layers.Lambda(lambda h: ops.sum(h, axis=1)),
                keras.layers.Dense(
                    1, use_bias=False, kernel_regularizer=example.make(), dtype=policy
                ),
            ]
        )
        model.set_weights([table, kernel])
        rule = keras.optimizers.SGD(rate, gradient_accumulation_steps=steps)
        model.compile(rule, "mse", jit_compile=jit_compile)
        return model

    def by_hand(table: np.ndarray, kernel: np.ndarray) -> list[np.ndarray]:
        """One step in float64."""
        hidden = table[words].sum(axis=1)
        error = 2 * (hidden @ kernel - target) / len(target)
        of_table = slope_by_differences(reference, table)
        np.add.at(of_table, words, (error @ kernel.T)[:, None])
        of_kernel = slope_by_differences(reference, kernel) + hidden.T @ error
        return [table - rate * of_table, kernel - rate * of_kernel]

    once = by_hand(table, kernel)
    twice = np.concatenate([w.ravel() for w in by_hand(*once)])

    def train(model: keras.Model, steps: int = 1) -> np.ndarray:
        for _ in range(steps):
            model.train_on_batch(words, target)
        return np.concatenate([w.ravel() for w in model.get_weights()])

    whole = np.concatenate([w.ravel() for w in once])
    agree(train(make(True)), whole, "jit_compile must not change a step", 1e-4)
    loop = make(False)
    agree(train(loop), whole, "a step must be that of a loop", 1e-4)
    agree(train(loop), twice, "two steps must be those of a loop", 1e-4)
    agree(train(make(False, "mixed_float16")), whole, "mixed_float16 must nearly agree", 2e-2)
    # The same batch twice has the mean gradient of one.
    agree(train(make(False, steps=2), 2), whole, "accumulated gradients must be the same", 1e-4)
    kept = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(1, kernel_regularizer=example.make())]
    )
    kept.compile(keras.optimizers.SGD(rate), "mse")
    x = rng.normal(size=(2, 2)).astype("float32")
    kept.train_on_batch(x, target)
    kept.save(folder / "model.keras")
    loaded = keras.saving.load_model(folder / "model.keras")
    for model in (kept, loaded):
        model.train_on_batch(x, target)
    for old, new in zip(kept.get_weights(), loaded.get_weights(), strict=True):
        agree(new, old, "training that goes on from a file must be the same", 1e-6)


def check_regularizer_at_the_limits(penalty: Any) -> None:
    """Zeros, large numbers and NaN."""
    for content in (0.0, 1e3, -1e3):
        for dtype in ("float32", "float16"):
            at = ops.full((3, 2), content, dtype)
            assert np.isfinite(array(penalty(at))), f"{content} must give a number, {dtype}"
            slope = array(autodiff.gradient(penalty)(at))
            assert np.isfinite(slope).all(), f"{content} must give a finite gradient, {dtype}"
    assert np.isnan(array(penalty(ops.convert_to_tensor([1.0, np.nan])))), "NaN must come out"


# -- models --------------------------------------------------------------------------------------


def check_model(
    make: Callable[..., keras.Model],
    component: type,
    x: np.ndarray,
    y: np.ndarray,
    folder: Any,
    tolerance: float = 1e-4,
) -> None:
    """`make(policy)` gives a model that is not compiled, with an own start each time.

    `tolerance` is that of the comparison with and without XLA: for a model that draws random
    numbers it must be wide enough for another draw, for XLA on TensorFlow makes another of the
    same seed.
    """
    keras.utils.set_random_seed(0)
    model = make("float32")
    expected = array(model(x))
    check_config(component, model)
    agree(model.predict(x, verbose=0), expected, "compiled it must give the same")
    agree(check_saved(model, x, folder)(x), expected, "a loaded model must give the same")
    copy = component.from_config(model.get_config())
    copy(x)
    copy.set_weights(model.get_weights())
    agree(copy(x), expected, "a copy with the same weights must give the same")

    def compiled(jit_compile: bool, policy: str = "float32") -> keras.Model:
        fresh = make(policy)
        fresh.set_weights(model.get_weights())
        fresh.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=jit_compile)
        return fresh

    fitted(compiled, x, y, "in fit", tolerance)
    losses = [compiled(False, p).train_on_batch(x, y) for p in ("float32", "mixed_float16")]
    agree(losses[1], losses[0], "mixed_float16 must nearly agree", 2e-2)
    diverged = compiled(False)
    diverged.set_weights([np.full(w.shape, np.nan, w.dtype) for w in diverged.get_weights()])
    assert np.isnan(diverged.train_on_batch(x, y)).all(), "weights of NaN must give a loss of NaN"
    assert np.isnan(array(diverged(x))).all(), "weights of NaN must give outputs of NaN"
