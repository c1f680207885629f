"""Helpers of the part Generative models."""
