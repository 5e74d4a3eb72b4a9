"""What is to be done: the request, its settings, the plan, the sources, and the worker that does it."""
