"""What every reader keeps to: names and steps, one budget a checkpoint, numbers only, one sentence."""
