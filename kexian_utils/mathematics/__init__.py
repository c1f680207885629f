"""Helpers of the part Mathematics."""
