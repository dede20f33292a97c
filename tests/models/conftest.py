"""Lets the tests import training_worker, which they also run as a program: the import mode adds no folder of its own."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
