"""PyTorch's graphs, evaluated by JAX: the record, its readers, the table of operators, the evaluator."""
