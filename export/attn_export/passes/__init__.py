"""One pass a file: a change to a graph whose answers stay, usable as --pass NAME."""
