"""What does a compressed network forget? Populations of networks, compared example by example."""

__version__ = "0.1.0"
