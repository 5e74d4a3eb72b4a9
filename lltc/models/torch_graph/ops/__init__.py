"""PyTorch's operators as functions of JAX: one table, by their ATen names.

An operator has the arguments of its ATen schema and returns what that returns. It computes in a type as wide
as PyTorch does, and the evaluator casts its result to the type that the graph records. A name with a dot is
one overload.
"""

from collections.abc import Callable
from typing import Any

from lltc.models.torch_graph.ops.activations import ACTIVATIONS
from lltc.models.torch_graph.ops.attention import ATTENTION
from lltc.models.torch_graph.ops.convolution import CONVOLUTION
from lltc.models.torch_graph.ops.copies import COPIES
from lltc.models.torch_graph.ops.factories import FACTORIES
from lltc.models.torch_graph.ops.indexing import INDEXING
from lltc.models.torch_graph.ops.losses import LOSSES
from lltc.models.torch_graph.ops.normalization import NORMALIZATION
from lltc.models.torch_graph.ops.pointwise import POINTWISE
from lltc.models.torch_graph.ops.pooling import POOLING
from lltc.models.torch_graph.ops.products import PRODUCTS
from lltc.models.torch_graph.ops.recurrent import RECURRENT
from lltc.models.torch_graph.ops.reductions import REDUCTIONS
from lltc.models.torch_graph.ops.shapes import SHAPES
from lltc.models.torch_graph.ops.symbols import SYMBOLS

KINDS: dict[str, dict[str, Callable[..., Any]]] = {
    "Number by number": POINTWISE | ACTIVATIONS,
    "Copies, casts and checks": COPIES,
    "Shapes and views": SHAPES,
    "Indexing": INDEXING,
    "Reductions": REDUCTIONS,
    "Products and transforms": PRODUCTS,
    "Convolution": CONVOLUTION,
    "Pooling and resizing": POOLING,
    "Normalization": NORMALIZATION,
    "Attention": ATTENTION,
    "Recurrent layers": RECURRENT,
    "New arrays": FACTORIES,
    "Losses": LOSSES,
}
TABLE = {name: function for kind in KINDS.values() for name, function in kind.items()}


def find(target: str) -> Callable[..., Any] | None:
    """Return the function of an operator such as "aten.add.Tensor" or "operator.mul", None where none is.

    Example:
        >>> find("aten.add.Tensor").__name__, find("aten.unheard_of.default")
        ('add', None)
    """
    if not target.startswith("aten."):
        return SYMBOLS.get(target)
    _, name, overload = (*target.split("."), "")[:3]
    return TABLE.get(f"{name}.{overload}", TABLE.get(name))
