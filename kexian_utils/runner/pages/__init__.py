"""The pages of the book made from executed notebooks."""
