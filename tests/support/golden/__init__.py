"""Golden cases for bundles that tests make by hand."""
