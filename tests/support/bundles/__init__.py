"""Small bundles made by hand, each with something changed."""
