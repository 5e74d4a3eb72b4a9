"""The formats checkpoints come in: a reader each, and what several of them are made of."""
