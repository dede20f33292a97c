"""Modules and bundles that tests export, train and run."""
