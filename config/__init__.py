"""Composition root: imports every app, imported by none."""
