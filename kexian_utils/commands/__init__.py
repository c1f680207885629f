"""The ``kexian`` command: what it offers on the library and on the book."""
