"""Bundles whose attention weights are outputs."""
