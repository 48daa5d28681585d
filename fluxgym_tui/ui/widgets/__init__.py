"""Widgets of our own, where Textual and its field have none good enough."""
