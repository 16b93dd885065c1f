"""Stands in for a module that Python has had no more since 3.12, unless setuptools brings it."""
