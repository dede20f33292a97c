"""How tests look: at threads, at imports, at messages, at what is made once for a run."""
