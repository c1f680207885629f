"""Helpers of the part Robustness."""
