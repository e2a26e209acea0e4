"""Exact gradients by tiles."""
