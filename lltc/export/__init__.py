"""PyTorch's side of the bridge: a module becomes a graph of ATen operators, live or as a `.pt2` file.

Nothing in this folder needs JAX or NumPy, and it runs under Python 3.10 and later, so that
`python -m lltc.export` works wherever the module was trained.
"""
