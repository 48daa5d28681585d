"""Captions made by a model, an endpoint or any program, in a process of its own."""
