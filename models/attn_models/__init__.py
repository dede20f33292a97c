"""The reference models, one file each, and their training.

Imports point one way: recipe, spec, layers, registry, reference_generation <- data <- training <- train, and <- zoo beside
training: a model says in its recipe how it is trained, and the registry finds the models by file.
"""
