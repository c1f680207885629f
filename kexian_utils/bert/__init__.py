"""BERT and its kind: checkpoints, a transparent encoder, and enlargement without loss.

Names are imported when they are asked for, and nothing here imports Keras until a function is
called that makes a Keras model. `expand_checkpoint` is imported from its module of the same name.
"""

from kexian_utils._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "checkpoints": (
            "Checkpoint",
            "load_backbone",
            "load_masked_lm",
            "minilm",
            "write_safetensors",
        ),
        "encoder": ("check_config", "encode", "expected_state"),
        "expansion": (
            "antisymmetric_noise",
            "break_ties",
            "equivalent_learning_rates",
            "expand_dense",
            "expand_width",
            "expansion_matrix",
            "insert_identity_block",
            "twin_axis",
            "weight_role",
        ),
        "fast_encoder": ("FastEncoder",),
        "probing": (
            "MaskedVariants",
            "ProbingModel",
            "impact_matrices",
            "impact_matrix",
            "masked_variants",
        ),
        "models": ("CountedTies", "ReadingModel", "chinese_bert", "open_model"),
        "parser": ("ParsedSentence", "Parser"),
        "segmenter": ("Segmentation", "Segmenter"),
        "rules": ("AXES", "TensorRule", "expand_tensor", "width_rules"),
        "tensor_names": ("tensor_role",),
        "wordpiece": (
            "AlignedTokens",
            "Tokenizer",
            "aligned_tokens",
            "aligned_words",
            "read_vocabulary",
            "token_ids",
        ),
    },
)
