"""The commands of `pie-ray`, a file a family; `cli` puts them together.

Heavy imports stand in the functions that need them, so that --help and a mistake answer at once.
"""
