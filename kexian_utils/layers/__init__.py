"""Keras layers that this book needs and Keras does not have."""

from kexian_utils._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "attention_pooling": ("AttentionPooling1D",),
        "batch_center": ("BatchCenter",),
        "center_distances": ("CenterDistances",),
        "dilated_gated_conv": ("DilatedGatedConv1D",),
        "gradient_normalized_critic": ("GradientNormalizedCritic",),
        "mitchell_dense": ("MitchellDense",),
        "ode_cells": ("EulerCell", "RungeKuttaCell"),
        "remat_block": ("RematBlock",),
        "sampling": ("Sampling",),
        "scaled_parameterization": ("ScaledParameterization",),
        "self_terminating": ("SelfTerminating",),
    },
)
