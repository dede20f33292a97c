"""`python -m attn_runtime` is attn-run."""

from .cli import main

main()
