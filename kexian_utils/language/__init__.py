"""Helpers of the part Language: words, sentences, trees."""
