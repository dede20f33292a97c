"""The C++ runtime, as this process sees it."""
