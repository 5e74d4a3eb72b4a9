"""Losses of every token at every kept draw: read once into a store, from which all else is worked out."""
