"""Running notebooks: kernels, several at a time, what was run before."""
