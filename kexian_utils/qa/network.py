r"""The network of the convolutional reader: two taggers and a global score (articles 5409, 6906).

.. math:: \begin{aligned}p^{g}&=\sigma(w_g^\top o+b_g),\\
    p^{st}_i&=p^{g}\,\sigma(u_1^\top h_i+c_1),\\
    p^{en}_i&=p^{g}\,\sigma(u_2^\top h_i+c_2)\end{aligned}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import keras
import numpy as np
from keras import layers, ops

from kexian_utils import _checks
from kexian_utils.layers import AttentionPooling1D, DilatedGatedConv1D
from kexian_utils.qa.decoding import SpanScore, VoteRule
from kexian_utils.qa.features import FEATURES

__all__ = ["FIRST", "PAD", "UNKNOWN", "ReaderConfig", "reader_loss", "reader_network"]

PAD, UNKNOWN, FIRST = 0, 1, 2  # numbers of padding, of rare characters, of the first common one


@dataclass(frozen=True)
class ReaderConfig:
    """What a reader is made of and how it decodes.

    Attributes:
        width: d, of character vectors and of all blocks.
        features: whether the passage's match features are read
            (:func:`kexian_utils.qa.features.match_features`).
        gate: whether start and end are multiplied by the global score :math:`p^g`; without it
            nothing trains that score.
        question_rates, passage_rates: dilation rates of the gated convolutions.
        dropout: on character vectors.
        gate_dropout: on the inputs of the gates.
        word_dropout: share of the character vectors that are set to 0 in training, without
            making the others larger (article 5409).
        pretrained: number of components of fixed character vectors
            (:func:`kexian_utils.qa.vectors.character_vectors`) that are added to the trained ones
            after a linear map; 0 for none.
        minimum_count: characters that the training texts hold less often are unknown.
        threshold, max_len, score: as in :func:`kexian_utils.qa.decoding.extract_spans`.
        vote: as in :func:`kexian_utils.qa.decoding.vote`.
        least_vote: `kexian answer` says nothing if the best answer has less in the vote.
        window: characters of a passage at once, for which the reader was trained; `kexian answer`
            cuts longer ones.

    Raises:
        ValueError: for a value outside its range; the message names it.

    Examples:
        >>> config = ReaderConfig(width=16, passage_rates=[1, 2, 4])
        >>> config.width, config.passage_rates, config.vote
        (16, (1, 2, 4), 'soft_square')
    """

    width: int = 24
    features: bool = True
    gate: bool = True
    question_rates: tuple[int, ...] = (1, 2, 1)
    passage_rates: tuple[int, ...] = (1, 2, 4, 8, 16, 1)
    dropout: float = 0.1
    gate_dropout: float = 0.1
    word_dropout: float = 0.0
    pretrained: int = 64
    minimum_count: int = 2
    threshold: float = 0.1
    max_len: int = 12
    score: SpanScore = "product"
    vote: VoteRule = "soft_square"
    # Of 400 development questions of FactQA and 400 without an answer: the mean of final score and
    # silence is .949 without a least vote, .990 at its best (0.15); this is the smallest value
    # within a standard error of it.
    least_vote: float = 0.03
    window: int = 256

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant, by name."""
        for name in ("question_rates", "passage_rates"):
            rates = tuple(getattr(self, name))
            object.__setattr__(self, name, rates)  # JSON has lists only
            if not rates:
                raise ValueError(f"{name} must hold at least one rate, got none")
            for rate in rates:
                _checks.whole(f"each of {name}", rate, 1)
        for name in ("width", "minimum_count", "max_len", "window"):
            object.__setattr__(self, name, _checks.whole(name, getattr(self, name), 1))
        _checks.whole("pretrained", self.pretrained, 0)
        for name in ("dropout", "gate_dropout", "word_dropout", "threshold", "least_vote"):
            _checks.probability(name, getattr(self, name), one=False)
        for name, choices in (("score", get_args(SpanScore)), ("vote", get_args(VoteRule))):
            _checks.choice(name, getattr(self, name), choices)


def reader_network(
    config: ReaderConfig, characters: int, seed: int = 0, vectors: np.ndarray | None = None
) -> keras.Model:
    """The network, with weights that follow from the seed alone.

    Inputs, by name: ``question`` (B, m) and ``passage`` (B, n), numbers of characters, 0 behind
    the end; ``features`` (B, n, 5). Outputs, by name: ``places`` (B, n, 2), probabilities of start
    and end, 0 behind the end; ``answerable`` (B, 1), the global score.

    As in article 6906: character vectors, gated convolutions over the question and attention
    pooling; the passage's characters beside the question's vector and the features, a linear
    layer, gated convolutions, once more beside the question's vector, and the three heads.

    Args:
        config: of the reader.
        characters: V, size of the trained vocabulary, padding and unknown included.
        seed: of weights and dropout.
        vectors: fixed vectors, shape (V', w): of the V characters and of further ones, which for
            the trained vectors are all unknown.

    Examples:
        >>> from keras import ops
        >>> config = ReaderConfig(width=4, question_rates=[1], passage_rates=[1], pretrained=0)
        >>> network = reader_network(config, characters=10)
        >>> inputs = {"question": np.array([[2, 3]]), "passage": np.array([[4, 5, 0]])}
        >>> found = network({**inputs, "features": np.zeros((1, 3, 5))})
        >>> places = ops.convert_to_numpy(found["places"])
        >>> places.shape, places[0, 2].tolist()  # nothing starts or ends in the padding
        ((1, 3, 2), [0.0, 0.0])
    """
    question = keras.Input((None,), dtype="int32", name="question")
    passage = keras.Input((None,), dtype="int32", name="passage")
    features = keras.Input((None, len(FEATURES)), name="features")
    asked, shown = ops.not_equal(question, PAD), ops.not_equal(passage, PAD)
    embed = _Embedding(config, characters, vectors)

    hidden = _blocks(embed(question), asked, config, "question")
    vector = AttentionPooling1D(name="question_pooling")(hidden, mask=asked)
    hidden = [_beside(embed(passage), vector)]
    hidden = ops.concatenate([*hidden, features], axis=-1) if config.features else hidden[0]
    hidden = layers.Dense(config.width, use_bias=False, name="fusion")(hidden)
    hidden = _beside(_blocks(hidden, shown, config, "passage"), vector)
    pooled = AttentionPooling1D(name="passage_pooling")(hidden, mask=shown)
    answerable = layers.Dense(1, activation="sigmoid", name="answerable")(pooled)
    places = layers.Dense(2, activation="sigmoid", name="start_and_end")(hidden)
    if config.gate:
        places = places * ops.expand_dims(answerable, 1)
    places = places * ops.expand_dims(ops.cast(shown, places.dtype), -1)
    model = keras.Model(
        {"question": question, "passage": passage, "features": features},
        {"places": places, "answerable": answerable},
        name="dgcnn_reader",
    )
    _initialise(model, seed)
    return model


class _Embedding:
    """Trained character vectors, and fixed ones beside them; question and passage share both."""

    def __init__(self, config: ReaderConfig, characters: int, vectors: np.ndarray | None) -> None:
        self.config, self.known, self.fixed = config, characters, None
        self.trained = layers.Embedding(characters, config.width, name="characters")
        if vectors is not None:
            self.fixed = layers.Embedding(
                *vectors.shape, weights=[vectors], trainable=False, name="fixed_characters"
            )
            self.mapped = layers.Dense(config.width, use_bias=False, name="fixed_to_width")

    def __call__(self, ids: Any) -> Any:
        rate = self.config.word_dropout
        result = self.trained(ops.where(ops.less(ids, self.known), ids, UNKNOWN))
        if self.fixed is not None:
            result = result + self.mapped(self.fixed(ids))
        if rate:
            # The sign undoes the factor by which dropout makes larger what it leaves.
            result = result * ops.sign(layers.Dropout(rate)(ops.ones_like(result[:, :, :1])))
        return layers.Dropout(self.config.dropout)(result)


def _blocks(hidden: Any, mask: Any, config: ReaderConfig, name: str) -> Any:
    for number, rate in enumerate(getattr(config, f"{name}_rates")):
        hidden = DilatedGatedConv1D(
            config.width,
            dilation_rate=rate,
            gate_dropout=config.gate_dropout,
            name=f"{name}_block_{number}",
        )(hidden, mask=mask)
    return hidden


def _beside(hidden: Any, vector: Any) -> Any:
    """The question's vector at every place of the passage."""
    return ops.concatenate([hidden, ops.expand_dims(vector, 1) + ops.zeros_like(hidden)], axis=-1)


def _initialise(model: keras.Model, seed: int) -> None:
    """Give all weights and generators values of this seed; Keras's global one does not count."""
    for number, weight in enumerate(model.trainable_variables):
        own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        if weight.path.endswith("embeddings"):
            weight.assign(keras.initializers.RandomUniform(-0.05, 0.05, own)(weight.shape))
        elif len(weight.shape) > 1:
            weight.assign(keras.initializers.GlorotUniform(own)(weight.shape))
    states = [v for v in model.non_trainable_variables if v.name == "seed_generator_state"]
    for number, state in enumerate(states):  # of dropout and noise
        state.assign([seed, number])


def reader_loss() -> keras.losses.Loss:
    r"""Focal loss of start and end, mean over the characters: labels and outputs (B, n, 2).

    Keras's own with :math:`\alpha=\frac14,\gamma=2`; the mask (B, n) goes in as `sample_weight`.
    It is 1/200 of article 6906's loss, which adds the two means and multiplies by 100.

    Examples:
        >>> labels, outputs = np.array([[[1.0, 0.0]]]), np.array([[[0.5, 0.5]]])
        >>> loss = reader_loss()(labels, outputs, sample_weight=np.array([[1.0]]))
        >>> round(float(loss), 4)  # (1/4 + 3/4) / 2 · (1/2)² · ln 2
        0.0866
    """
    return keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=True, alpha=0.25, gamma=2.0, reduction="mean_with_sample_weight"
    )
