"""The training of the reference models, on one process or several."""

__all__ = ["loop", "malloc"]
