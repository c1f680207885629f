"""Answering questions from passages: benchmark, features, decoding, scores and reader.

Nothing here imports Keras until a function is called that makes a Keras model.
"""
