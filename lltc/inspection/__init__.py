"""One look at model, checkpoint and data before any chain: what is refused, told, or only noted."""
