"""Bundles and saved folders of models of sound."""
