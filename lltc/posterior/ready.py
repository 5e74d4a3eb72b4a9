"""Heads, MLPs, layers and embeddings of transformers, by the names their families give the parameters.

GPT-NeoX, GPT-2 (and nanoGPT), Llama, Mistral, Qwen, Gemma, BERT, ViT (and timm's) and TransformerLens.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lltc.errors import InputError

READY = ("heads", "mlps", "layers", "embeddings")
_LAYER = re.compile(r"(?P<stack>(?:.*?\.)??)(?:layers?|h|blocks?)\.(?P<number>\d+)\.(?P<rest>.+)")
# Floats that are no parameters: masks and tables that older checkpoints hold among the weights.
_BUFFERS = re.compile(
    r"(?:.*\.)?(?:inv_freq|masked_bias|IGNORE|mask|rotary_sin|rotary_cos|att(?:n|ention)\.bias)"
)
_MLP = re.compile(r"mlp\..+|(?:intermediate|output)\.dense\..+")
_EMBEDDINGS = {
    "token": r"(?:wte|embed_in|embed_tokens|word_embeddings)\.weight|embed\.W_E",
    "position": r"(?:wpe|position_embeddings)\.weight|position_embeddings|pos_embed(?:\.W_pos)?",
    "type": r"token_type_embeddings\.weight",
    "patch": r"(?:patch_embeddings|patch_embed)\..*(?:weight|bias)",
    "class": r"cls_token",
    "unembedding": r"(?:lm_head|embed_out|predictions\.decoder)\.(?:weight|bias)|unembed\.[Wb]_U",
}


class _Rule(NamedTuple):
    """How a matrix of attention lies: which axis heads divide, in three blocks or one, for which part."""

    names: str
    axis: int
    blocks: int = 1
    of_keys: bool = False


_RULES = (
    # Each head's query, key and value lie beside one another.
    _Rule(r"attention\.query_key_value\.(?:weight|bias)", 0),
    _Rule(r"attention\.dense\.weight", 1),
    # All queries, then all keys, then all values; of shape (in, out) in GPT-2, else (out, in).
    _Rule(r"attn\.(?:c_attn|qkv)\.(?:weight|bias)", 0, blocks=3),
    _Rule(r"attn\.(?:c_proj|proj)\.weight", 1),
    _Rule(r"(?:self_attn|attention)\.q_proj\.(?:weight|bias)", 0),
    _Rule(r"(?:self_attn|attention)\.[kv]_proj\.(?:weight|bias)", 0, of_keys=True),
    _Rule(r"(?:self_attn|attention)\.o_proj\.weight", 1),
    _Rule(r"attention\.(?:self|attention)\.(?:query|key|value)\.(?:weight|bias)", 0),
    _Rule(r"attention\.output\.dense\.weight", 1),
    # One entry of the first axis a head.
    _Rule(r"attn\.(?:W_Q|W_O|b_Q)", 0),
    _Rule(r"attn\._?[Wb]_[KV]", 0, of_keys=True),
)


class _Leaf(NamedTuple):
    name: str
    rest: str
    shape: tuple[int, ...]


def ready_patterns(
    kind: str, shapes: Mapping[str, tuple[int, ...]], num_heads: int | None = None
) -> dict[str, list[str]]:
    """Return the components of a kind, by name, each a list of patterns over the paths of `shapes`.

    Raises:
        InputError: the paths are of no family that is known, or `num_heads` is needed or does not fit.

    Example:
        >>> shapes = {"h/0/attn/c_attn/weight": (4, 12), "h/0/attn/c_proj/weight": (4, 4)}
        >>> ready_patterns("heads", shapes, 2)["layer0/head1"]
        ['h/0/attn/c_attn/weight[:,2:4]', 'h/0/attn/c_attn/weight[:,6:8]', 'h/0/attn/c_attn/weight[:,10:12]',
         'h/0/attn/c_proj/weight[2:4]']
    """
    patterns: dict[str, list[str]] = {}
    for name, pattern in _members(kind, shapes, num_heads):
        patterns.setdefault(name, []).append(pattern)
    if not patterns:
        some = ", ".join(repr(name) for name in list(shapes)[:3])
        raise InputError(
            f"{kind!r} are known by the names that GPT-NeoX, GPT-2, Llama, Mistral, Qwen, Gemma, BERT, ViT "
            "and TransformerLens give their parameters, but params has none of these "
            f"({some}, …); pass patterns."
        )
    return {name: patterns[name] for name in sorted(patterns, key=_natural)}


def _members(
    kind: str, shapes: Mapping[str, tuple[int, ...]], num_heads: int | None
) -> Iterator[tuple[str, str]]:
    if kind == "embeddings":
        for name in shapes:
            for part, pattern in _EMBEDDINGS.items():
                if re.fullmatch(rf"(?:.*\.)?(?:{pattern})", _dotted(name)):
                    yield f"embeddings/{part}", _literal(name)
        return
    for layer, leaves in _layers(shapes).items():
        if kind == "heads":
            yield from ((f"{layer}/{part}", pattern) for part, pattern in _heads(leaves, num_heads))
        elif kind == "mlps":
            yield from ((f"{layer}/mlp", _literal(leaf.name)) for leaf in leaves if _MLP.fullmatch(leaf.rest))
        else:
            yield from ((layer, _literal(leaf.name)) for leaf in leaves)


def _layers(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, list[_Leaf]]:
    """Return the parameters of each layer; a network of several stacks names the layer's."""
    placed: dict[tuple[str, int], list[_Leaf]] = {}
    for name, shape in shapes.items():
        match = _LAYER.fullmatch(_dotted(name))
        if match and not _BUFFERS.fullmatch(match["rest"]):
            place = match["stack"].rstrip("."), int(match["number"])
            placed.setdefault(place, []).append(_Leaf(name, match["rest"], shape))
    several = len({stack for stack, _ in placed}) > 1
    return {
        (f"{stack}/" if several and stack else "") + f"layer{number}": leaves
        for (stack, number), leaves in placed.items()
    }


def _heads(leaves: list[_Leaf], num_heads: int | None) -> Iterator[tuple[str, str]]:
    """Yield what each head has of a layer's attention; keys and values that heads share are a group's."""
    lengths = {leaf.rest: leaf.shape[0] for leaf in leaves if leaf.shape}
    heads = lengths.get("attn.W_Q", num_heads)
    turned = any(leaf.rest == "attn.c_attn.weight" and _is_turned(leaf) for leaf in leaves)
    for leaf, rule in _ruled(leaves):
        if heads is None:
            raise InputError(
                f"heads of {leaf.name!r} cannot be told apart without their number; pass "
                "lltc.ready_components(params, 'heads', num_heads=…), or lay the model's config.json beside "
                "the checkpoint."
            )
        axis = _axis(leaf, rule, turned=turned)
        length = leaf.shape[axis] if axis < len(leaf.shape) else 0
        count = _groups(leaf, heads, lengths) if rule.of_keys else heads
        if not count or heads % count or not length or length % (rule.blocks * count):
            raise InputError(
                f"num_heads={heads} does not fit {leaf.name!r} of shape {leaf.shape}; pass the number of "
                "heads that the model's config.json states."
            )
        size = length // (rule.blocks * count)
        for number in range(count):
            for block in range(rule.blocks):
                start = (block * count + number) * size
                part = "head" if count == heads else "group"
                yield f"{part}{number}", f"{_literal(leaf.name)}[{':,' * axis}{start}:{start + size}]"


def _groups(leaf: _Leaf, heads: int, lengths: Mapping[str, int]) -> int:
    """Return how many keys, or values, there are; 0 where that cannot be."""
    if "attn.W_Q" in lengths:
        return leaf.shape[0]
    # A key is as long as a query.
    query = re.sub(r"[kv]_proj\..*", "q_proj.weight", leaf.rest)
    count, rest = divmod(leaf.shape[0] * heads, lengths.get(query) or 1)
    return 0 if rest else count


def _ruled(leaves: list[_Leaf]) -> Iterator[tuple[_Leaf, _Rule]]:
    for leaf in leaves:
        if rule := next((rule for rule in _RULES if re.fullmatch(rule.names, leaf.rest)), None):
            yield leaf, rule


def _axis(leaf: _Leaf, rule: _Rule, *, turned: bool) -> int:
    if turned and re.fullmatch(r"attn\.c_(?:attn|proj)\.weight", leaf.rest):
        return 1 - rule.axis
    return rule.axis


def _is_turned(leaf: _Leaf) -> bool:
    """True for GPT-2's own layer, whose weight is (in, out)."""
    return len(leaf.shape) == 2 and leaf.shape[1] == 3 * leaf.shape[0]


def _dotted(name: str) -> str:
    return name.replace("/", ".")


def _literal(name: str) -> str:
    """Return the glob that names this path and no other."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _natural(name: str) -> list[int | str]:
    """Return a key that sorts layer2 ahead of layer10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
