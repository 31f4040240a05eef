"""Tocsin: webhooks in, the right people told, nothing lost."""

__version__ = "0.1.0"
