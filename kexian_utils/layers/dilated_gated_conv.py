"""Dilated convolutions with a gate."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kexian_utils import _checks

__all__ = ["DilatedGatedConv1D"]

RESIDUALS = ("highway", "additive", None)


@keras.saving.register_keras_serializable(package="kexian_utils")
class DilatedGatedConv1D(keras.layers.Layer):
    r"""Dilated gated convolution (膨胀门卷积): a convolution opened and shut by another one.

    With two convolutions :math:`C_1,C_2` of one dilation rate and the gate
    :math:`\sigma=\mathrm{sigmoid}(C_2(X))` the output is

    - ``"highway"``: :math:`X\otimes(1-\sigma)+C_1(X)\otimes\sigma`, article 6906, equation (4);
    - ``"additive"``: :math:`X+C_1(X)\otimes\sigma`, equation (3);
    - ``None``: :math:`C_1(X)\otimes\sigma`, the gated linear unit of Dauphin et al.
      (arXiv:1612.08083), equation (1).

    Padded places count as zeros and stay zero, so that padding a batch changes no output.

    Args:
        filters: width d' of the output.
        kernel_size: number of taps; odd where there is a residual, so that one is in the centre.
        dilation_rate: distance of neighbouring taps.
        residual: one of the three above. If the input has another width than `filters`, it is
            projected by a 1×1 convolution first.
        gate_dropout: share of the gate's inputs that are set to 0 in training, so that the gate
            is half open (article 6906's code).
        gate_noise: in training the gate's inputs are multiplied by :math:`1+\varepsilon` with
            :math:`\varepsilon` uniform in plus or minus this (article 5409, equation (9)).
        seed: of dropout and noise.

    Input: (batch, n, d), mask (batch, n) or None. Output: (batch, n, d').

    Raises:
        ValueError: for sizes below 1, an even `kernel_size` with a residual, an unknown residual,
            or rates and noise outside [0, 1).

    Examples:
        >>> import keras
        >>> from keras import ops
        >>> stack = keras.Sequential([DilatedGatedConv1D(8, dilation_rate=r) for r in (1, 2, 4)])
        >>> tuple(stack(ops.ones((2, 20, 8))).shape)
        (2, 20, 8)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        dilation_rate: int = 1,
        residual: str | None = "highway",
        gate_dropout: float = 0.0,
        gate_noise: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        sizes = {"filters": filters, "kernel_size": kernel_size, "dilation_rate": dilation_rate}
        for name, value in sizes.items():
            _checks.whole(name, value, 1)
        _checks.choice("residual", residual, RESIDUALS)
        if residual is not None and kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size must be odd where there is a residual, got {kernel_size}"
            )
        for name, share in {"gate_dropout": gate_dropout, "gate_noise": gate_noise}.items():
            _checks.probability(name, share, one=False)
        self.filters = int(filters)
        self.kernel_size = int(kernel_size)
        self.dilation_rate = int(dilation_rate)
        self.residual = residual
        self.gate_dropout = float(gate_dropout)
        self.gate_noise = float(gate_noise)
        self.seed = seed
        self.supports_masking = True
        self.convolution = keras.layers.Conv1D(
            2 * self.filters,
            self.kernel_size,
            padding="same",
            dilation_rate=self.dilation_rate,
            dtype=self.dtype_policy,
            name="convolution",
        )
        self.projection: keras.layers.Layer | None = None
        self.dropout = keras.layers.Dropout(self.gate_dropout, seed=seed, dtype=self.dtype_policy)
        self.noise = keras.random.SeedGenerator(seed)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the convolutions for inputs of `input_shape`."""
        if len(input_shape) != 3 or input_shape[-1] is None:
            raise ValueError(f"inputs must have shape (batch, n, d), got {tuple(input_shape)}")
        self.convolution.build(input_shape)
        if self.residual is not None and input_shape[-1] != self.filters:
            projection = keras.layers.Conv1D(
                self.filters, 1, dtype=self.dtype_policy, name="projection"
            )
            projection.build(input_shape)
            self.projection = projection
        self.built = True

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Return the gated output, zero where the mask is."""
        # Chosen, not multiplied by 0: what stands in a padded place may be NaN.
        shown = None if mask is None else ops.cast(ops.expand_dims(mask, -1), "bool")
        x = inputs if shown is None else ops.where(shown, inputs, 0)
        value, gate = ops.split(self.convolution(x), 2, axis=-1)
        gate = ops.sigmoid(self._disturbed(gate, training))
        if self.projection is not None:
            x = self.projection(x)
        if self.residual == "highway":
            result = x * (1 - gate) + value * gate
        elif self.residual == "additive":
            result = x + value * gate
        else:
            result = value * gate
        return result if shown is None else ops.where(shown, result, 0)

    def _disturbed(self, gate: Any, training: bool | None) -> Any:
        if training and self.gate_noise:
            noise = keras.random.uniform(
                ops.shape(gate), -self.gate_noise, self.gate_noise, gate.dtype, seed=self.noise
            )
            gate = gate * (1 + noise)
        return self.dropout(gate, training=training)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As the input, with `filters` features."""
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        """Return what is needed to build the layer again."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "dilation_rate": self.dilation_rate,
            "residual": self.residual,
            "gate_dropout": self.gate_dropout,
            "gate_noise": self.gate_noise,
            "seed": self.seed,
        }
