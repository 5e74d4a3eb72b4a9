"""Where checkpoints are worked on: in this process, on an executor, on a cluster."""
