"""Datasets that hold every kind of write, what a server holds of them, and what became of them."""
