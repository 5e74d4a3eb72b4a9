"""How losses fluctuate together over the local posterior: susceptibilities and the loss kernel."""
