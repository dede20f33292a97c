"""Write token by token with the graphs of a bundle: encoder-decoder and decoder-only models, on any backend.

options    what is asked for: length, beams, sampling, stop tokens
wiring     which graph's output is which graph's input, from assets/generation.json, checked
memory     buffers, and the one copy that a cache needs, in host memory or on a GPU
cache      the past keys and values, in buffers of a capacity that doubles
plan       the graphs bound to buffers that they share, for prompts of one shape
greedy     one answer a row: the likeliest token each time
sampling   or a drawn one
beam       several answers a row are followed, and the best is kept
top        the largest of many, in an order of its own
generator  `open_generator`; prompts in, tokens out
cases      what PyTorch generated when the bundle was made
verify     the same, here
"""

from .generator import Generator, open_generator
from .options import GenerateOptions, Sample
from .result import Generated

__all__ = ["GenerateOptions", "Generated", "Generator", "Sample", "open_generator"]
