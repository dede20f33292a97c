"""`python -m attn_runtime` is attn-run."""

from .cli import main

if __name__ == "__main__":
    main()
