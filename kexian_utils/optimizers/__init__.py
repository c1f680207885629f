"""Optimisers and learning-rate schedules that Keras does not have."""

from kexian_utils._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "adax": ("AdaX",),
        "layerwise_rates": ("LayerwiseRates",),
        "momentum_accumulated_sgd": ("MomentumAccumulatedSGD",),
        "schedules": ("PerUpdateSchedule",),
    },
)
