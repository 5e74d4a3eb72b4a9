"""Known learning coefficients: written down, integrated, or sampled exactly."""
