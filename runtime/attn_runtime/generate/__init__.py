"""Write token by token with the graphs of a bundle: encoder-decoder and decoder-only models, on any backend.

options          what is asked for: length, beams, sampling, stop tokens
greedy           one answer a row: the likeliest token each time
sampling         or a drawn one
beam             several answers a row are followed, and the best is kept
topk             the largest of many, in an order of its own
generator        `open_generator`; prompts in, tokens out
text_generation  the same from text to text
recorded_cases   what PyTorch generated when the bundle was made
verify           the same, here
graphs           the graphs that take the steps, bound to the buffers that they share
"""

from .generator import Generator, open_generator
from .options import GenerateOptions, Sample
from .result import Generated

__all__ = ["GenerateOptions", "Generated", "Generator", "Sample", "open_generator"]
