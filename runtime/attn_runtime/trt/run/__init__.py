"""Run a compiled engine."""
