"""Helpers of the part Foundations."""
