"""Processes that train together."""

__all__ = ["processes", "sharding", "sync_batch_norm"]
