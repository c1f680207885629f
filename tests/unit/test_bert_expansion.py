"""Enlarged models against the small ones; the file runs on TensorFlow, and once more on JAX."""

import functools
import threading

import numpy as np
import pytest

keras = pytest.importorskip("keras")
keras_hub = pytest.importorskip("keras_hub")
from keras import ops  # noqa: E402

from kexian_utils import autodiff  # noqa: E402
from kexian_utils.bert import expansion, rules  # noqa: E402
from kexian_utils.training.building import weights_at_zero  # noqa: E402
from kexian_utils.training.precision import double_precision  # noqa: E402

pytestmark = [pytest.mark.backends, pytest.mark.in_turn("kexian_utils/bert")]

BACKEND = keras.backend.backend()
VOCABULARY, LENGTH, BATCH = 23, 8, 3
INPUTS = ("token_ids", "segment_ids", "padding_mask", "mask_positions")


@pytest.fixture(autouse=True, scope="module")
def float64_on_jax():
    with double_precision():
        yield


def randomise(model, rng):
    """Give all parameters random values: biases of 0 and gains of 1 would hide mistakes."""
    for weight in model.weights:
        noise = rng.normal(size=weight.shape)
        weight.assign(1 + 0.3 * noise if weight.path.endswith("gamma") else 0.4 * noise)


def small_bert(seed, dtype="float64", layers=1, heads=2, size=3, hidden=7, dropout=0.1):
    with weights_at_zero():
        backbone = keras_hub.models.BertBackbone(
            vocabulary_size=VOCABULARY,
            num_layers=layers,
            num_heads=heads,
            hidden_dim=heads * size,
            intermediate_dim=hidden,
            max_sequence_length=LENGTH + 1,
            dropout=dropout,
            dtype=dtype,
        )
        model = keras_hub.models.BertMaskedLM(backbone)
    randomise(model, np.random.default_rng(seed))
    return model


def tokens(rng):
    """Random sequences of three lengths, both segments, and three masked positions each."""
    lengths = np.array([LENGTH, LENGTH - 1, 4])
    return [
        rng.integers(0, VOCABULARY, (BATCH, LENGTH)),
        rng.integers(0, 2, (BATCH, LENGTH)),
        (np.arange(LENGTH) < lengths[:, None]).astype(int),
        np.array([[0, 2, 3]] * BATCH),
    ]


def outputs(model, data):
    """Hidden states and pooled output of the encoder, and logits."""

    def call(*data):
        features = dict(zip(INPUTS, data, strict=True))
        encoded = model.backbone({name: features[name] for name in INPUTS[:3]})
        return encoded["sequence_output"], encoded["pooled_output"], model(features)

    return [ops.convert_to_numpy(value) for value in autodiff.compiled(call)(*data)]


def worst_token(large, expected, mask):
    """The largest relative error of a hidden state over tokens that are not padding."""
    error = np.linalg.norm(large - expected, axis=-1) / np.linalg.norm(expected, axis=-1)
    return error[mask == 1].max()


def assert_same(small, large, factor, mask, dtype):
    """The bars: hidden states against y E, pooled output against repetition, logits as they are."""
    states, logits = (2e-5, 2e-5) if dtype == "float32" else (1e-13, 1e-12)
    assert large[0].dtype == large[2].dtype == dtype
    matrix = expansion.expansion_matrix(small[0].shape[-1], factor)
    assert worst_token(large[0], small[0] @ matrix, mask) <= states
    np.testing.assert_allclose(large[1], np.repeat(small[1], factor, -1), rtol=0, atol=10 * states)
    assert np.abs(large[2] - small[2]).max() <= logits * np.abs(small[2]).max()


def test_double_precision_is_put_right_and_put_back():
    if BACKEND == "jax":
        from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE as demotions

        demotions["float64"] = "float32"  # as Keras has it
    with double_precision():
        mean = float(ops.mean(np.array([1.0, 1.0 + 4e-12])))
        assert mean - 1 == pytest.approx(2e-12, rel=1e-3)
    if BACKEND == "jax":
        assert demotions["float64"] == "float32"
        assert float(ops.mean(np.array([1.0, 1.0 + 4e-12]))) == 1.0
        demotions["float64"] = "float64"  # as the fixture left it


def new_dense(seed=1):
    layer = keras.layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(seed=seed))
    layer.build((None, 2))
    return layer.kernel.numpy()


def test_weights_at_zero_only_inside_and_only_in_this_thread():
    usual = new_dense()
    assert usual.all()
    there = []
    with weights_at_zero():
        assert not new_dense().any()
        assert keras.layers.Dropout(0.5, seed=7).seed_generator.state.numpy().any()
        other = threading.Thread(target=lambda: there.append(new_dense()))
        other.start()
        other.join()
        weight = keras.layers.Layer(dtype="float64").add_weight((2, 1), "ones", "float32")
        assert weight.shape == (2, 1)
        assert weight.dtype == "float32"
    with pytest.raises(TypeError), weights_at_zero():
        keras.layers.Dense()
    np.testing.assert_array_equal(there[0], usual)
    np.testing.assert_array_equal(new_dense(), usual)


def test_expansion_matrix():
    np.testing.assert_allclose(
        np.sqrt(2) * expansion.expansion_matrix(2, 2), [[1, 1, 0, 0], [0, 0, 1, 1]]
    )
    np.testing.assert_allclose(
        np.sqrt(2) * expansion.expansion_matrix(2, 2, "tile"), [[1, 0, 1, 0], [0, 1, 0, 1]]
    )
    for pattern in expansion.PATTERNS:
        matrix = expansion.expansion_matrix(5, 3, pattern)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(5), atol=1e-15)
    for d, factor, pattern in [(0, 2, "tile"), (2.5, 2, "tile"), (2, 0, "tile"), (2, 2, "other")]:
        with pytest.raises(ValueError, match="d must|factor must|pattern must"):
            expansion.expansion_matrix(d, factor, pattern)


@pytest.mark.parametrize("in_pattern", ["interleave", "tile"])
@pytest.mark.parametrize("out_pattern", ["interleave", "tile"])
@pytest.mark.parametrize(
    ("shape", "inputs", "in_axis", "out_axis"),
    [
        ((4, 5), 1, 0, -1),
        ((4, 2, 3), 1, 0, 2),
        ((4, 2, 3), 1, 0, 1),
        ((2, 3, 4), 2, 1, 2),
        ((2, 3, 4), 2, 0, -1),
        ((4, 5), 1, None, 1),
        ((4, 5), 1, 0, None),
    ],
)
def test_dense_layer_with_repeated_input_and_output(
    shape, inputs, in_axis, out_axis, in_pattern, out_pattern
):
    rng = np.random.default_rng(0)
    k, s_in, s_out = 3, 0.7, 1.9
    kernel, bias = rng.normal(size=shape), rng.normal(size=shape[inputs:])
    x = rng.normal(size=(6, *shape[:inputs]))

    def copies(array, axis, pattern):  # by explicit matrices, on one axis
        if axis is None:
            return array
        matrix = expansion.expansion_matrix(array.shape[axis], k, pattern) * np.sqrt(k)
        return np.moveaxis(np.tensordot(array, matrix, (axis, 0)), -1, axis)

    large, large_bias = expansion.expand_dense(
        kernel, bias, k, s_in, s_out, in_axis, out_axis, in_pattern, out_pattern
    )
    x_axis = None if in_axis is None else in_axis + 1
    y_axis = None if out_axis is None else out_axis % len(shape) - inputs + 1
    got = np.tensordot(s_in * copies(x, x_axis, in_pattern), large, inputs) + large_bias
    y = np.tensordot(x, kernel, inputs) + bias
    np.testing.assert_allclose(got, s_out * copies(y, y_axis, out_pattern), atol=1e-12)
    assert expansion.expand_dense(kernel, None, k, s_in, s_out)[1] is None


def test_dense_refuses_bad_input():
    kernel, bias = np.ones((4, 2, 3)), np.ones((2, 3))
    for name in ("s_in", "s_out"):
        for value in (None, 0, -1.0, np.nan):
            with pytest.raises(ValueError, match=f"{name} must be a positive number, got"):
                expansion.expand_dense(kernel, bias, 2, **{"s_in": 1.0, "s_out": 1.0, name: value})
    for arguments, message in [
        ({"in_axis": 3}, "in_axis must be one of the 3 axes of the kernel, got 3"),
        ({"out_axis": -4}, "out_axis must be one of the 3 axes of the kernel, got -4"),
        ({"in_axis": 2}, "must differ, got 2 twice"),
        ({"in_axis": 1, "out_axis": 0}, "out_axis must be an axis of the bias, too, got 0"),
        ({"bias": np.ones(2)}, r"bias must have the shape of the last axes .* got \(2,\)"),
        ({"in_pattern": "no"}, "in_pattern must be one of"),
        ({"out_pattern": "no"}, "out_pattern must be one of"),
        ({"factor": 1.5}, "factor must be a whole number of at least 1, got 1.5"),
    ]:
        arguments = {"bias": bias, "factor": 2, "s_in": 1.0, "s_out": 1.0, **arguments}
        with pytest.raises(ValueError, match=message):
            expansion.expand_dense(kernel, **arguments)


ACTIVATIONS = ("gelu", "relu", "silu", "tanh")


# JAX compiles every random initialiser anew, and so takes the cases that cover most.
@pytest.mark.parametrize("case", range(12) if BACKEND == "tensorflow" else (1, 3, 4, 7, 10, 11))
def test_random_small_berts_grow_without_loss(case):
    """A property test; each activation three times, each factor and kind of heads likewise."""
    rng = np.random.default_rng([8444, case])
    factor, heads = 1 + case // 3, rules.HEADS[(case + case // 6) % 2]
    shape = {
        "layers": int(rng.integers(1, 4)),
        "heads": int(rng.integers(1, 5)),
        "size": int(rng.choice([3, 5, 7])),
        "hidden": int(rng.integers(3, 12)),
        "dropout": float(rng.choice([0.0, 0.1])),  # Keras computes attention in two ways
    }
    data = tokens(rng)
    for dtype in ("float64", "float32"):
        if dtype == "float32" and case % 2:
            continue
        model = small_bert(case, dtype, **shape)
        for layer in model.backbone.transformer_layers:
            layer._feedforward_intermediate_dense.activation = keras.activations.get(
                ACTIVATIONS[case % 4]
            )
        # A floor of the variance that matters, so that its rule does as well.
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.LayerNormalization):
                layer.epsilon = (1e-12, 1e-3, 0.1)[case % 3]
        before = [weight.numpy().tobytes() for weight in model.weights]
        large = expansion.expand_width(model, factor, heads)
        assert [weight.numpy().tobytes() for weight in model.weights] == before
        assert large.backbone.hidden_dim == factor * model.backbone.hidden_dim
        assert large.backbone.num_heads == shape["heads"] * (factor if heads == "more" else 1)
        assert large.backbone.dropout == shape["dropout"]
        assert_same(outputs(model, data), outputs(large, data), factor, data[2], dtype)


def test_backbone_alone_keeps_its_class_and_settings():
    model = small_bert(0, "float32")
    model.backbone.token_embedding.trainable = False
    large = expansion.expand_width(model.backbone, 2)
    assert type(large) is keras_hub.models.BertBackbone
    assert large.dtype_policy.name == "float32"
    assert not large.token_embedding.embeddings.trainable
    assert large.pooled_dense.kernel.trainable
    epsilons = {
        layer.epsilon
        for layer in large._flatten_layers()
        if isinstance(layer, keras.layers.LayerNormalization)
    }
    assert epsilons == {0.5e-12}
    head = expansion.expand_width(model, 2).masked_lm_head
    assert head._intermediate_layer_norm.epsilon == 1e-5  # it reads copies of full size
    # Widening twice is widening once by the product.
    twice = expansion.expand_width(expansion.expand_width(model, 2), 2)
    once = expansion.expand_width(model, 4)
    for a, b in zip(twice.weights, once.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)


def test_expansion_refuses_other_models_and_weights():
    with pytest.raises(TypeError, match="BertBackbone or BertMaskedLM, got Sequential"):
        expansion.expand_width(keras.Sequential([keras.layers.Dense(1)]), 2)
    gpt = small_gpt("float32")
    with pytest.raises(TypeError, match="BertBackbone or BertMaskedLM, got GPT2Backbone"):
        expansion.expand_width(gpt, 2)
    model = small_bert(0)
    with pytest.raises(ValueError, match="factor must be a whole number of at least 1, got 0"):
        expansion.expand_width(model, 0)
    with pytest.raises(ValueError, match="heads must be one of"):
        expansion.expand_width(model, 2, "many")
    model.backbone.pooled_dense.enable_lora(1)
    with pytest.raises(ValueError, match="weight 'pooled_dense/lora_kernel_a' is not one of"):
        expansion.expand_width(model, 2)
    with pytest.raises(ValueError, match="'x/y' is not one of"):
        expansion.weight_role("x/y")


@functools.cache
def deep_model(dtype):
    model = small_bert(5, dtype, layers=3)
    data = tokens(np.random.default_rng(5))
    return model, data, outputs(model, data)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("after", "count"), [(0, 1), (1, 1), (2, 1), (0, 2), (2, 3)])
def test_blocks_inserted_into_post_ln_compute_nothing(after, count, dtype):
    model, data, expected = deep_model(dtype)
    deep = expansion.insert_identity_block(model, after, count)
    assert deep.backbone.num_layers == 3 + count
    got = outputs(deep, data)
    bar = 2e-5 if dtype == "float32" else 1e-11
    assert worst_token(got[0], expected[0], data[2]) <= bar
    np.testing.assert_allclose(got[1], expected[1], rtol=0, atol=bar)
    assert np.abs(got[2] - expected[2]).max() <= bar * np.abs(expected[2]).max()
    # Nothing but the places that the recipe names has changed.
    block = deep.backbone.transformer_layers[after + 1]
    source = model.backbone.transformer_layers[after]
    for name in ("_query_dense", "_key_dense", "_value_dense"):
        kernels = [getattr(b._self_attention_layer, name).kernel.numpy() for b in (block, source)]
        np.testing.assert_array_equal(*kernels)
    assert not block._feedforward_output_dense.kernel.numpy().any()


def small_gpt(dtype):
    model = keras_hub.models.GPT2Backbone(
        vocabulary_size=VOCABULARY,
        num_layers=2,
        num_heads=2,
        hidden_dim=6,
        intermediate_dim=7,
        max_sequence_length=LENGTH,
        dtype=dtype,
    )
    randomise(model, np.random.default_rng(2))
    return model


@pytest.mark.parametrize("after", [0, 1])
def test_blocks_inserted_into_pre_ln_are_the_identity(after):
    model, data = small_gpt("float64"), tokens(np.random.default_rng(5))

    def states(model):
        call = autodiff.compiled(lambda ids, mask: model({"token_ids": ids, "padding_mask": mask}))
        return ops.convert_to_numpy(call(data[0], data[2]))

    deep = expansion.insert_identity_block(model, after, 2)
    small, large = states(model), states(deep)
    assert deep.num_layers == 4
    np.testing.assert_allclose(large, small, rtol=1e-13, atol=1e-13)
    # Gains are copied as they are.
    gains = [
        m.transformer_layers[i]._feedforward_layer_norm.gamma.numpy()
        for m, i in ((deep, after + 1), (model, after))
    ]
    np.testing.assert_array_equal(*gains)


def test_depth_and_width_go_together():
    model, data, expected = deep_model("float64")
    both = expansion.expand_width(expansion.insert_identity_block(model, 1), 2, "more")
    got = outputs(both, data)
    matrix = expansion.expansion_matrix(model.backbone.hidden_dim, 2)
    assert worst_token(got[0], expected[0] @ matrix, data[2]) <= 1e-11
    assert np.abs(got[2] - expected[2]).max() <= 1e-11 * np.abs(expected[2]).max()


def test_insertion_refuses_bad_input():
    model = deep_model("float32")[0]
    for after in (-1, 3, 1.0, True):
        with pytest.raises(ValueError, match="after must be a whole number from 0 to 2, got"):
            expansion.insert_identity_block(model, after)
    for count in (0, -1, 1.5):
        with pytest.raises(ValueError, match="count must be a whole number of at least 1, got"):
            expansion.insert_identity_block(model, 0, count)
    with pytest.raises(TypeError, match="BertMaskedLM or GPT2Backbone, got Sequential"):
        expansion.insert_identity_block(keras.Sequential([keras.layers.Dense(1)]), 0)


@pytest.mark.parametrize("pattern", ["interleave", "tile"])
@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_noise_of_twins_adds_up_to_zero(axis, factor, pattern):
    kernel = np.random.default_rng(0).normal(3.0, 2.0, size=(12, 24, 36)).astype("float32")
    noise = expansion.antisymmetric_noise(kernel, factor, axis, 0.5, 7, pattern)
    assert noise.shape == kernel.shape
    assert noise.dtype == kernel.dtype
    matrix = expansion.expansion_matrix(kernel.shape[axis] // factor, factor, pattern)
    sums = np.tensordot(noise.astype(float), matrix, (axis, 1))
    assert np.abs(sums).max() < (1e-12 if factor == 2 else 1e-6)
    assert noise.std() == pytest.approx(0.5 * kernel.std(), rel=0.05)
    again, other = (
        expansion.antisymmetric_noise(kernel, factor, axis, 0.5, s, pattern) for s in (7, 8)
    )
    np.testing.assert_array_equal(noise, again)
    assert np.abs(noise - other).max() > 0.1


def test_noise_refuses_bad_input():
    kernel = np.ones((6, 4))
    assert not expansion.antisymmetric_noise(kernel, 2, 0, 1.0, 0).any()  # a constant kernel
    for arguments, message in [
        ((1, 0, 1.0, 0), "factor must be at least 2"),
        ((2.5, 0, 1.0, 0), "factor must be a whole number"),
        ((2, 2, 1.0, 0), "axis must be one of the 2 axes of the kernel, got 2"),
        ((4, 0, 1.0, 0), "multiple of 4 components, got 6"),
        ((2, 0, -1.0, 0), "relative_std must be a finite number of at least 0, got -1.0"),
        ((2, 0, np.nan, 0), "relative_std must be a finite"),
        ((2, 0, 1.0, -1), "seed must not be negative, got -1"),
        ((2, 0, 1.0, 0, "other"), "pattern must be one of"),
    ]:
        with pytest.raises(ValueError, match=message):
            expansion.antisymmetric_noise(kernel, *arguments)


def test_twin_axes():
    expected = {"query_kernel": 0, "output_kernel": 0, "mlm_kernel": 0, "pooler_kernel": 0}
    expected |= {"token_embedding": None, "query_bias": None, "layer_norm_gain": None}
    for heads, axis in (("wider", 1), ("more", 0)):
        assert expansion.twin_axis("attention_output_kernel", heads) == axis
        for role, other in expected.items():
            assert expansion.twin_axis(role, heads) == other
    with pytest.raises(ValueError, match="role must be one of"):
        expansion.twin_axis("kernel")
    with pytest.raises(ValueError, match="heads must be one of"):
        expansion.twin_axis("query_kernel", "many")


@functools.cache
def loss_and_gradients(model):
    """A compiled function of the parameters (a list) and data: masked-language loss, gradients.

    Sums, not ``ops.mean``: Keras on JAX computes means of float64 in float32 unless
    `double_precision` is on, and nothing here should depend on that.
    """
    state = [weight.value for weight in model.non_trainable_variables]

    def loss(point, *data):
        features = dict(zip(INPUTS, data, strict=True))
        logits, _ = model.stateless_call(point, state, features, training=False)
        logits = logits - ops.max(logits, axis=-1, keepdims=True)
        targets = ops.one_hot(data[0][:, :3], VOCABULARY, dtype="float64")
        log_normaliser = ops.log(ops.sum(ops.exp(logits), axis=-1))
        return ops.sum(log_normaliser - ops.sum(targets * logits, axis=-1)) / (3 * BATCH)

    return autodiff.compiled(autodiff.value_and_gradient(loss))


def train(model, rates, optimizer, data, steps=50):
    """Losses of `steps` updates, written out in NumPy with one rate per tensor."""
    evaluate = loss_and_gradients(model)
    point = [weight.numpy() for weight in model.trainable_variables]
    first, second = ([np.zeros_like(p) for p in point] for _ in range(2))
    losses = []
    for step in range(1, steps + 1):
        value, slopes = evaluate(point, *data)
        losses.append(float(value))
        for i, slope in enumerate(map(ops.convert_to_numpy, slopes)):
            if optimizer == "sgd":
                point[i] = point[i] - rates[i] * slope
            else:
                first[i] = 0.9 * first[i] + 0.1 * slope
                second[i] = 0.999 * second[i] + 0.001 * slope**2
                root = np.sqrt(second[i] / (1 - 0.999**step))
                point[i] = point[i] - rates[i] * first[i] / (1 - 0.9**step) / (root + 1e-30)
    return np.array(losses)


@functools.cache
def small_training(optimizer):
    model, data = small_bert(11), tokens(np.random.default_rng(11))
    rate = {"sgd": 0.01, "adam": 0.01}[optimizer]
    losses = train(model, [rate] * len(model.trainable_variables), optimizer, data)
    assert losses[-1] < 0.9 * losses[0]
    return model, data, rate, losses


@pytest.mark.parametrize("heads", rules.HEADS)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_copies_train_exactly_like_the_small_model(optimizer, heads):
    """Equation (10), GELU and scaled attention; k = 2 with wider heads, 3 with more."""
    model, data, rate, losses = small_training(optimizer)
    factor = 2 if heads == "wider" else 3
    large = expansion.expand_width(model, factor, heads)
    factors = expansion.equivalent_learning_rates(factor, heads, optimizer)
    rates = [rate * factors[expansion.weight_role(w.path)] for w in large.trainable_variables]
    gap = np.abs(train(large, rates, optimizer, data) - losses).max()
    plain = np.abs(train(large, [rate] * len(rates), optimizer, data, 10) - losses[:10]).max()
    print(f"{BACKEND} {optimizer} {heads}: gap {gap:.1e}, with one rate {plain:.1e}")
    assert gap <= 1e-12
    assert plain > 1e-3


def test_learning_rates_of_the_derivation():
    root = np.sqrt(2)
    expected = {"query_kernel": root, "key_bias": root, "intermediate_kernel": 2.0}
    expected |= {"intermediate_bias": 2.0, "output_kernel": 0.5, "output_bias": 1.0}
    expected |= {"pooler_kernel": 2.0, "mlm_bias": 2.0, "value_kernel": 1.0, "logit_bias": 1.0}
    expected |= {"token_embedding": 1.0, "layer_norm_gain": 1.0}
    rates = expansion.equivalent_learning_rates(2)
    assert {role: rates[role] for role in expected} == pytest.approx(expected)
    uniform = expansion.equivalent_learning_rates(2, "wider", "sgd", "homogeneous")
    assert uniform["intermediate_kernel"] == uniform["output_kernel"] == pytest.approx(1)
    adam = expansion.equivalent_learning_rates(4, "wider", "adam")
    assert adam["query_bias"] == pytest.approx(4**-0.25)
    assert adam["output_kernel"] == pytest.approx(1 / 8)
    with pytest.raises(ValueError, match="optimizer must be 'sgd' or 'adam', got 'lion'"):
        expansion.equivalent_learning_rates(2, optimizer="lion")


def twin_difference(tensor, repeats):
    """Largest relative difference between a tensor's entries and those of their first twin."""
    firsts = tensor[tuple(slice(None, None, k) for k in repeats)]
    return np.abs(tensor - np.kron(firsts, np.ones(repeats))).max() / np.abs(tensor).max()


@pytest.mark.parametrize("heads", rules.HEADS)
def test_noise_breaks_ties_and_keeps_the_function(heads):
    factor = 2 if heads == "wider" else 3
    model, data = small_bert(3), tokens(np.random.default_rng(3))
    expected = outputs(model, data)
    large = expansion.expand_width(model, factor, heads)
    table = rules.width_rules(factor, heads)

    def differences(step=0.0):
        """How far the gradients of twins are apart, tensor by tensor; then one step of descent."""
        point = [weight.numpy() for weight in large.trainable_variables]
        slopes = loss_and_gradients(large)(point, *data)[1]
        result = {}
        for weight, slope in zip(large.trainable_variables, slopes, strict=True):
            role, slope = expansion.weight_role(weight.path), ops.convert_to_numpy(slope)
            weight.assign_sub(step * slope)
            if not role.startswith("pooler") and role not in ("key_bias", "logit_bias"):
                result[weight.path] = twin_difference(slope, table[role].repeats)
        return result

    copies = differences()
    assert max(copies.values()) < 1e-10
    before = {weight.path: weight.numpy() for weight in large.weights}
    expansion.break_ties(large, factor, heads, relative_std=1.0, seed=4)
    got = outputs(large, data)
    matrix = expansion.expansion_matrix(model.backbone.hidden_dim, factor)
    assert worst_token(got[0], expected[0] @ matrix, data[2]) <= 1e-12
    assert np.abs(got[2] - expected[2]).max() <= 1e-12 * np.abs(expected[2]).max()
    for weight in large.weights:  # exactly the kernels have changed
        moved = np.abs(weight.numpy() - before[weight.path]).max() > 0
        assert moved == (weight.path.endswith("/kernel")), weight.path
    expansion.break_ties(large, factor, heads, 0.5, seed=5)  # once more does no harm
    assert worst_token(outputs(large, data)[0], expected[0] @ matrix, data[2]) <= 1e-12
    # At the first step some tensors still meet twins on both sides: the head, whose outputs meet
    # the table of tokens, and inside wider heads queries, which meet keys. Then all are apart.
    apart = differences(step=0.01)
    tied = {path for path, difference in apart.items() if difference < 1e-10}
    meet_twins = ("mlm_head/", "/query/", "/key/") if heads == "wider" else ("mlm_head/",)
    assert tied == {path for path in apart if any(part in path for part in meet_twins)}
    assert min(differences().values()) > 1e-4


def test_ties_are_broken_only_where_there_are_twins():
    large = expansion.expand_width(small_bert(3), 2, "wider")
    values = [weight.numpy() for weight in large.weights]
    for model, factor, heads in [
        (large, 2, "more"),
        (large, 4, "wider"),
        (small_bert(3), 2, "wider"),
    ]:
        with pytest.raises(ValueError, match="must be equal twins along axis|not made by this"):
            expansion.break_ties(model, factor, heads)
    with pytest.raises(ValueError, match="factor must be at least 2"):
        expansion.break_ties(large, 1)
    with pytest.raises(TypeError, match="BertBackbone or BertMaskedLM, got GPT2Backbone"):
        expansion.break_ties(small_gpt("float32"), 2)
    for weight, value in zip(large.weights, values, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
