"""The bundle: read without trust, written whole or not at all."""
