"""`python -m attn_export` is attn-export."""

from .cli import main

if __name__ == "__main__":
    main()
