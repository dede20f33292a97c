"""What the reference models are trained on: made from a seed, or shipped with a package."""

__all__ = ["digits", "headlines", "image_folder", "scans", "speech", "stories", "translation"]
