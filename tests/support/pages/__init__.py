"""Pages of HTML: what is in one, and a browser that shows it."""
