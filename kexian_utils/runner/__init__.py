"""Re-running notebooks: execution, comparison, hygiene, the book, the `kexian` command."""

import sys

# jsonschema, which nbformat imports, looks for this optional package, and importing it builds a
# grammar of addresses: 1.3 s, more than all else that a command imports, for a check of formats
# that notebooks do not have. An entry of None means "not installed".
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
