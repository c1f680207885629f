"""Losses that Keras does not have, and what is known of them."""

from kexian_utils._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "comparison": ("COMPARED", "ComparedLoss", "LossFacts", "best_output", "loss_facts"),
        "focal": ("focal_posterior", "focal_probability"),
        "gan_qp": ("QPCriticLoss", "qp_critic_loss", "qp_generator_loss"),
        "multilabel": (
            "MultilabelCategoricalCrossentropy",
            "log_elementary_symmetric",
            "multilabel_categorical_crossentropy",
            "sparse_multilabel_categorical_crossentropy",
            "unified_pair_loss",
        ),
        "sentiment": ("sentiment_network",),
        "smooth": (
            "SoftAccuracyLoss",
            "SoftF1Loss",
            "smooth_max",
            "soft_accuracy",
            "soft_argmax",
            "soft_f1",
            "soft_topk",
            "soft_topk_recursive",
        ),
        "truncation": (
            "CategoricalSoftTruncatedCrossentropy",
            "MarginCrossentropy",
            "SoftTruncatedCrossentropy",
            "categorical_soft_truncated_crossentropy",
            "hard_truncated_crossentropy",
            "margin_crossentropy",
            "soft_truncated_crossentropy",
        ),
    },
)
