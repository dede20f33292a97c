"""Reading and writing bytes that nobody vouches for."""
