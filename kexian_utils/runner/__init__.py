"""Re-running notebooks: execution, comparison, hygiene, the book, the `kexian` command."""
