"""What trains: stacks of seeds, gradient accumulation, resumable state, precision."""
