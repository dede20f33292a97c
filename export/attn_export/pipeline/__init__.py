"""The one order of an export: ask PyTorch, capture, check, then pass by pass with a check after each, write."""
