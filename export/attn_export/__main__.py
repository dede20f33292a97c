"""`python -m attn_export` is attn-export."""

from .cli import main

main()
