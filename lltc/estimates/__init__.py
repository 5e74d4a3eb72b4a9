"""The numbers: the learning coefficient of a checkpoint, at several temperatures, by component."""
