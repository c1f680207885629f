"""Checking notebooks: outputs, rules, planted mistakes; two pytest plugins."""
