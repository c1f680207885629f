"""Helpers of the part Optimisation."""
