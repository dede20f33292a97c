"""Small graphs with weights that can be quantised, and what is asked of them."""
