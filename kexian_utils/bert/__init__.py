"""BERT and its kind: checkpoints, a transparent encoder, and enlargement without loss.

Nothing here imports Keras until a function is called that makes a Keras model.
"""

from kexian_utils.bert.checkpoints import (
    Checkpoint,
    load_backbone,
    load_masked_lm,
    minilm,
    write_safetensors,
)
from kexian_utils.bert.encoder import check_config, encode, expected_state
from kexian_utils.bert.expand_checkpoint import expand_checkpoint
from kexian_utils.bert.expansion import (
    antisymmetric_noise,
    break_ties,
    equivalent_learning_rates,
    expand_dense,
    expand_width,
    expansion_matrix,
    insert_identity_block,
    twin_axis,
    weight_role,
)
from kexian_utils.bert.fast_encoder import FastEncoder
from kexian_utils.bert.models import ReadingModel, chinese_bert, open_model
from kexian_utils.bert.parser import ParsedSentence, Parser
from kexian_utils.bert.probing import (
    MaskedVariants,
    ProbingModel,
    impact_matrices,
    impact_matrix,
    masked_variants,
)
from kexian_utils.bert.rules import AXES, TensorRule, expand_tensor, width_rules
from kexian_utils.bert.segmenter import Segmentation, Segmenter
from kexian_utils.bert.tensor_names import tensor_role
from kexian_utils.bert.wordpiece import (
    AlignedTokens,
    Tokenizer,
    aligned_tokens,
    aligned_words,
    read_vocabulary,
    token_ids,
)

__all__ = [
    "AXES",
    "AlignedTokens",
    "Checkpoint",
    "FastEncoder",
    "MaskedVariants",
    "ParsedSentence",
    "Parser",
    "ProbingModel",
    "ReadingModel",
    "Segmentation",
    "Segmenter",
    "TensorRule",
    "Tokenizer",
    "aligned_tokens",
    "aligned_words",
    "antisymmetric_noise",
    "break_ties",
    "check_config",
    "chinese_bert",
    "encode",
    "equivalent_learning_rates",
    "expand_checkpoint",
    "expand_dense",
    "expand_tensor",
    "expand_width",
    "expansion_matrix",
    "expected_state",
    "impact_matrices",
    "impact_matrix",
    "insert_identity_block",
    "load_backbone",
    "load_masked_lm",
    "masked_variants",
    "minilm",
    "open_model",
    "read_vocabulary",
    "tensor_role",
    "token_ids",
    "twin_axis",
    "weight_role",
    "width_rules",
    "write_safetensors",
]
