"""Networks by description; one family a file."""

from .build import build_network
from .custom import imported_module

__all__ = ["build_network", "imported_module"]
