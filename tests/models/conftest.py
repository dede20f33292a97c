"""Lets the tests import training_worker, which they also run as a program: the import mode adds no folder of its own."""
