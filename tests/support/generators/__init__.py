"""Graphs of generators, held against one another."""
