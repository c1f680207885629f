"""Helpers of the part Transformers: rotary position embeddings."""
