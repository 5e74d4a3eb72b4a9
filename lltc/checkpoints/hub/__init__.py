"""Repositories on the Hugging Face hub as folders of checkpoints."""
