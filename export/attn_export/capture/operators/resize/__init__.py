"""Interpolation written out axis by axis: nearest, linear and cubic, antialiased; each a file with its `FORM`."""
