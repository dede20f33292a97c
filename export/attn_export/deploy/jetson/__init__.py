"""A bundle into a folder that sets itself up on a Jetson board."""
