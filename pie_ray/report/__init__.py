"""Results as people see them: figures and one self-contained page. Gets tables and arrays, reads no files."""
