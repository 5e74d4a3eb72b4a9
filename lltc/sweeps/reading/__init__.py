"""What a finished curve says: markers, critical checkpoints, what changes together, where to look next."""
