"""Networks by description; one family a file."""

from .build import build_network

__all__ = ["build_network"]
