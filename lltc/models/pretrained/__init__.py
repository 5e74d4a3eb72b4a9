"""Networks by their names: where their files lie, their weights, and what is remembered of them."""
