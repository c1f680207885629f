"""Helpers of Kexian, the executable companion to Su Jianlin's blog Scientific Spaces (kexue.fm).

Importing this package imports no framework: `kexian_utils.experiment.start` fixes threads,
seeds and the backend first, and only then brings in Keras.
"""

__version__ = "0.2.0"
