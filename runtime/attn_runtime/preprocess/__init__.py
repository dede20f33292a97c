"""From a picture, a recording or a text to the tensors that a model takes."""
