"""The reference models, one file each; `attn_models.registry.get(name)` is the way in."""

__all__: list[str] = []
