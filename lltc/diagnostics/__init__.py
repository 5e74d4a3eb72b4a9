"""What the draws say: errors, mixing, an assessment, a status."""
