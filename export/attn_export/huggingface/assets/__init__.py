"""What users of a model need beside its graphs: tokenizer, labels, licence."""

__all__: list[str] = []
