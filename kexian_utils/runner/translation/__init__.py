"""The Chinese edition: the same notebooks, their words exchanged message by message."""
