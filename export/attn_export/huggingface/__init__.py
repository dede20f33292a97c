"""Models of transformers as they are saved: found, loaded, and told to the rest of an export in its own words."""

__all__: list[str] = []
