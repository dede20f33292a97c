"""Tiny models of transformers whose answers have margins."""
