"""Keras models that are trained in a way of their own, for ``compile`` and ``fit``."""

from kexian_utils._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "adversarial": ("AdversarialModel",),
        "single_loss_gan": ("SingleLossGAN",),
        "virtual_adversarial": ("LabelledAndUnlabelled", "VirtualAdversarialModel"),
    },
)
