"""Heads, MLPs, layers and embeddings by the names of each family, on tiny trees of their real shapes."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lltc
from lltc.errors import InputError
from lltc.posterior.components import name_components, select

Shapes = dict[str, tuple[int, ...]]


def neox(layers: int, heads: int, size: int, **_: int) -> Shapes:
    width = heads * size
    layer = {
        "input_layernorm.weight": (width,),
        "attention.query_key_value.weight": (3 * width, width),
        "attention.query_key_value.bias": (3 * width,),
        "attention.dense.weight": (width, width),
        "attention.dense.bias": (width,),
        "attention.bias": (1, 1, 8, 8),
        "attention.masked_bias": (),
        "attention.rotary_emb.inv_freq": (size,),
        "mlp.dense_h_to_4h.weight": (4 * width, width),
        "mlp.dense_4h_to_h.bias": (width,),
    }
    whole = {
        "gpt_neox.embed_in.weight": (11, width),
        "gpt_neox.final_layer_norm.weight": (width,),
        "embed_out.weight": (11, width),
    }
    return whole | {
        f"gpt_neox.layers.{n}.{name}": shape for n in range(layers) for name, shape in layer.items()
    }


def gpt2(layers: int, heads: int, size: int, **_: int) -> Shapes:
    width = heads * size
    layer = {
        "ln_1.weight": (width,),
        "attn.bias": (1, 1, 8, 8),
        "attn.c_attn.weight": (width, 3 * width),
        "attn.c_attn.bias": (3 * width,),
        "attn.c_proj.weight": (width, width),
        "attn.c_proj.bias": (width,),
        "mlp.c_fc.weight": (width, 4 * width),
    }
    whole = {"transformer.wte.weight": (11, width), "transformer.wpe.weight": (8, width)}
    return whole | {
        f"transformer.h.{n}.{name}": shape for n in range(layers) for name, shape in layer.items()
    }


def nano(layers: int, heads: int, size: int, **_: int) -> Shapes:
    turned = {
        name: shape[::-1] if "weight" in name else shape for name, shape in gpt2(layers, heads, size).items()
    }
    return {name: shape for name, shape in turned.items() if not name.endswith("attn.bias")}


def llama(layers: int, heads: int, size: int, groups: int, **_: int) -> Shapes:
    width = heads * size + 1  # Gemma's and Qwen's heads together are not as wide as the stream.
    layer = {
        "self_attn.q_proj.weight": (heads * size, width),
        "self_attn.q_proj.bias": (heads * size,),
        "self_attn.k_proj.weight": (groups * size, width),
        "self_attn.v_proj.weight": (groups * size, width),
        "self_attn.v_proj.bias": (groups * size,),
        "self_attn.o_proj.weight": (width, heads * size),
        "self_attn.q_norm.weight": (size,),
        "mlp.gate_proj.weight": (5, width),
        "mlp.down_proj.weight": (width, 5),
        "input_layernorm.weight": (width,),
    }
    whole = {"model.embed_tokens.weight": (11, width), "lm_head.weight": (11, width)}
    return whole | {f"model.layers.{n}.{name}": shape for n in range(layers) for name, shape in layer.items()}


def encoder(attention: str, layers: int, heads: int, size: int) -> Shapes:
    width = heads * size
    layer = {f"attention.{attention}.{name}.weight": (width, width) for name in ("query", "key", "value")}
    layer |= {f"attention.{attention}.{name}.bias": (width,) for name in ("query", "key", "value")}
    layer |= {
        "attention.output.dense.weight": (width, width),
        "attention.output.dense.bias": (width,),
        "attention.output.LayerNorm.weight": (width,),
        "intermediate.dense.weight": (2 * width, width),
        "output.dense.weight": (width, 2 * width),
        "output.dense.bias": (width,),
    }
    return {f"encoder.layer.{n}.{name}": shape for n in range(layers) for name, shape in layer.items()}


def bert(layers: int, heads: int, size: int, **_: int) -> Shapes:
    width = heads * size
    names = ("word_embeddings", "position_embeddings", "token_type_embeddings")
    whole = {f"bert.embeddings.{name}.weight": (11, width) for name in names}
    whole["cls.predictions.decoder.weight"] = (11, width)
    return whole | {f"bert.{name}": shape for name, shape in encoder("self", layers, heads, size).items()}


def vit(layers: int, heads: int, size: int, **_: int) -> Shapes:
    width = heads * size
    whole = {
        "vit.embeddings.cls_token": (1, 1, width),
        "vit.embeddings.position_embeddings": (1, 5, width),
        "vit.embeddings.patch_embeddings.projection.weight": (width, 3, 2, 2),
    }
    return whole | {f"vit.{name}": shape for name, shape in encoder("attention", layers, heads, size).items()}


def vit_of_five(layers: int, heads: int, size: int, **_: int) -> Shapes:
    """Return the names that Transformers 5 gives ViT."""
    width = heads * size
    layer = {f"attention.{name}_proj.weight": (width, width) for name in "qkvo"}
    layer |= {f"attention.{name}_proj.bias": (width,) for name in "qkvo"}
    layer |= {"layernorm_before.weight": (width,), "mlp.fc1.weight": (2 * width, width)}
    return vit(0, heads, size) | {
        f"vit.layers.{n}.{name}": shape for n in range(layers) for name, shape in layer.items()
    }


def timm(layers: int, heads: int, size: int, **_: int) -> Shapes:
    width = heads * size
    layer = {
        "attn.qkv.weight": (3 * width, width),
        "attn.qkv.bias": (3 * width,),
        "attn.proj.weight": (width, width),
        "attn.proj.bias": (width,),
        "mlp.fc1.weight": (2 * width, width),
    }
    whole = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 5, width),
        "patch_embed.proj.weight": (width, 3, 2, 2),
    }
    return whole | {f"blocks.{n}.{name}": shape for n in range(layers) for name, shape in layer.items()}


def lens(layers: int, heads: int, size: int, groups: int, **_: int) -> Shapes:
    width = heads * size + 1
    keys = "" if groups == heads else "_"
    layer = {
        "attn.W_Q": (heads, width, size),
        f"attn.{keys}W_K": (groups, width, size),
        f"attn.{keys}W_V": (groups, width, size),
        "attn.W_O": (heads, size, width),
        "attn.b_Q": (heads, size),
        f"attn.{keys}b_K": (groups, size),
        "attn.b_O": (width,),
        "attn.mask": (8, 8),
        "attn.IGNORE": (),
        "mlp.W_in": (width, 5),
        "mlp.b_out": (width,),
        "ln1.w": (width,),
    }
    whole = {"embed.W_E": (11, width), "pos_embed.W_pos": (8, width), "unembed.W_U": (width, 11)}
    return whole | {f"blocks.{n}.{name}": shape for n in range(layers) for name, shape in layer.items()}


FAMILIES: dict[str, Callable[..., Shapes]] = {
    "GPT-NeoX": neox,
    "GPT-2": gpt2,
    "nanoGPT": nano,
    "Llama": llama,
    "BERT": bert,
    "ViT": vit,
    "ViT of 5": vit_of_five,
    "timm": timm,
    "TransformerLens": lens,
}
TABLES = (".attn.bias", "attention.bias", "masked_bias", "inv_freq", "mask", "IGNORE")
# What of an attention belongs to no one head: output biases, norms over each head's width, tables.
SHARED = (
    "dense.bias",
    "c_proj.bias",
    "o_proj.bias",
    ".proj.bias",
    "b_O",
    "q_norm.weight",
    "LayerNorm.weight",
    *TABLES,
)
SIZES = {"layers": 2, "heads": 4, "size": 3, "groups": 2}
sizes = st.fixed_dictionaries(
    {"layers": st.integers(1, 3), "size": st.integers(1, 4), "groups": st.integers(1, 3)}
)


def arrays(shapes: Shapes) -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def masks(params, patterns) -> dict[str, np.ndarray]:
    chosen = dict(zip(sorted(params), select(params, patterns), strict=True))
    return {name: np.broadcast_to(mask, params[name].shape) for name, mask in chosen.items()}


def indices(kind: str, shape: tuple[int, ...], head: int, heads: int) -> np.ndarray:
    """Return which numbers of a parameter are a head's, by how the family's own code reshapes it."""
    place = np.zeros(shape, bool)
    if kind == "interleaved":
        place.reshape(heads, -1)[head] = True
    elif kind == "thirds":
        place.reshape(3, heads, -1)[:, head] = True
    elif kind == "last thirds":
        place.reshape(*shape[:-1], 3, heads, -1)[..., :, head, :] = True
    elif kind == "rows":
        place.reshape(heads, -1)[head] = True
    else:
        place.reshape(shape[0], heads, -1)[:, head] = True
    return place


EXACT = {
    "GPT-NeoX": {"query_key_value": "interleaved", "dense": "columns"},
    "GPT-2": {"c_attn": "last thirds", "c_proj": "rows"},
    "nanoGPT": {"c_attn": "thirds", "c_proj": "columns"},
    "Llama": {"q_proj": "rows", "o_proj": "columns"},
    "BERT": {"self.": "rows", "output.dense": "columns"},
    "ViT": {"attention.attention.": "rows", "output.dense": "columns"},
    "ViT of 5": {"q_proj": "rows", "k_proj": "rows", "v_proj": "rows", "o_proj": "columns"},
    "timm": {"qkv": "thirds", "proj": "columns"},
    "TransformerLens": {"attn.W_Q": "rows", "attn.W_O": "rows", "attn.b_Q": "rows"},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_is_exactly_what_the_family_reshapes_to_it(family):
    params = arrays(FAMILIES[family](**SIZES))
    heads = lltc.ready_components(params, "heads", num_heads=4)
    for layer in range(2):
        for head in range(4):
            chosen = masks(params, heads[f"layer{layer}/head{head}"])
            for name, mask in chosen.items():
                kinds = [kind for part, kind in EXACT[family].items() if part in name]
                owned = f".{layer}." in name and ("att" in name) and not name.endswith(SHARED) and kinds
                expected = indices(kinds[-1], mask.shape, head, 4) if owned else np.zeros(mask.shape, bool)
                np.testing.assert_array_equal(mask, expected, err_msg=f"{name} of head {head}")


@pytest.mark.parametrize("family", ["Llama", "TransformerLens"])
def test_keys_and_values_that_heads_share_are_groups(family):
    params = arrays(FAMILIES[family](**SIZES))
    heads = lltc.ready_components(params, "heads", num_heads=4)
    assert sum("group" in name for name in heads) == 2 * 2
    chosen = masks(params, heads["layer1/group1"])
    for name, mask in chosen.items():
        if ".1." in name and any(part in name for part in ("k_proj", "v_proj", "W_K", "W_V", "b_K")):
            np.testing.assert_array_equal(mask, indices("rows", mask.shape, 1, 2))
        else:
            assert not mask.any()


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=20)
@given(sizes=sizes, share=st.integers(1, 3))
def test_heads_are_disjoint_and_together_the_attention(family, sizes, share):
    num_heads = sizes["groups"] * share
    params = arrays(FAMILIES[family](heads=num_heads, **sizes))
    each = [
        masks(params, chosen)
        for chosen in lltc.ready_components(params, "heads", num_heads=num_heads).values()
    ]
    for name in params:
        times = sum(chosen[name].astype(int) for chosen in each)
        attention = "att" in name and not name.endswith(SHARED)
        np.testing.assert_array_equal(times, np.full(np.shape(times), attention), err_msg=name)


@pytest.mark.parametrize("kind", ["layers", "mlps", "embeddings"])
@pytest.mark.parametrize("family", FAMILIES)
def test_whole_parameters_are_in_one_component_at_most(family, kind):
    params = arrays(FAMILIES[family](**SIZES))
    each = [masks(params, chosen) for chosen in lltc.ready_components(params, kind).values()]
    members = {name: sum(bool(chosen[name].any()) for chosen in each) for name in params}
    assert all(chosen[name].all() for chosen in each for name in params if chosen[name].any())
    expected = {
        "layers": lambda name: any(f".{n}." in name for n in range(2)) and not name.endswith(TABLES),
        "mlps": lambda name: (
            ".mlp." in name or ".intermediate." in name or ("r.1.output.d" in name or "r.0.output.d" in name)
        ),
        "embeddings": lambda name: (
            "embed" in name
            or name.endswith(("wte.weight", "wpe.weight", "lm_head.weight", "cls_token", "decoder.weight"))
        ),
    }[kind]
    assert members == {name: int(expected(name)) for name in params}


@pytest.mark.parametrize("family", FAMILIES)
def test_nested_names_are_known_like_flat_ones(family):
    params = arrays(FAMILIES[family](**SIZES))
    nested: dict = {}
    for name, array in params.items():
        *parents, last = name.split(".")
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = array
    for kind in ("heads", "mlps", "layers", "embeddings"):
        flat = lltc.ready_components(params, kind, num_heads=4)
        deep = lltc.ready_components(nested, kind, num_heads=4)
        assert list(flat) == list(deep)
        for name, patterns in flat.items():
            assert (
                lltc.list_components(params, patterns).selected
                == lltc.list_components(nested, deep[name]).selected
            )


def test_two_stacks_name_their_layers_apart():
    shapes = {f"{stack}.layers.0.mlp.fc1.weight": (2, 2) for stack in ("encoder", "decoder")}
    assert list(lltc.ready_components(arrays(shapes), "mlps")) == ["decoder/layer0/mlp", "encoder/layer0/mlp"]


def test_layers_come_in_the_order_of_their_numbers():
    names = list(lltc.ready_components(arrays(gpt2(12, 1, 1)), "layers"))
    assert names == [f"layer{number}" for number in range(12)]


def test_words_become_components_and_restrictions():
    params = arrays(llama(**SIZES))
    named = name_components(["mlps", "lm_head*"], params)
    assert list(named) == ["layer0/mlp", "layer1/mlp", "lm_head*"]
    assert name_components("mlps") == {"mlps": "mlps"}
    both = lltc.list_components(params, "mlps")
    assert both.selected == sum(array.size for name, array in params.items() if ".mlp." in name)
    # A parameter of that name comes first.
    assert name_components("layers", {"layers": np.ones(2)}) == {"layers": "layers"}
    assert lltc.list_components({"layers": np.ones(2)}, "layers").selected == 2


def test_heads_are_estimated_by_word():
    rng = np.random.default_rng(0)
    shapes = {"blocks.0.attn.W_Q": (2, 3, 2), "blocks.0.ln1.w": (3,)}
    params = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    loss = lambda p, x: 0.5 * sum((leaf**2).sum() for leaf in p.values()) * (1 + 0 * x[:, 0])
    few = {"num_draws": 50, "num_warmup": 50, "nbeta": 100.0, "localization": 1.0, "progress": False}
    team = lltc.estimate_llc_team(loss, params, np.zeros((9, 1), np.float32), components="heads", **few)
    assert team.components == ("layer0/head0", "layer0/head1")
    assert [team[name].num_params for name in team.components] == [6, 6]


@pytest.mark.parametrize(
    ("family", "num_heads", "reason"),
    [
        ("Llama", None, r"cannot be told apart without their number; pass lltc\.ready_components"),
        ("Llama", 5, r"num_heads=5 does not fit 'model\.layers\.0\.self_attn"),
        ("Llama", 3, r"num_heads=3 does not fit"),
        ("GPT-2", 5, r"num_heads=5 does not fit 'transformer\.h\.0\.attn\.c_attn"),
        ("BERT", 0, "num_heads must be an integer ≥ 1, but 0 was given"),
        ("BERT", True, "num_heads must be an integer ≥ 1, but True was given"),
    ],
)
def test_a_number_of_heads_that_does_not_fit_is_refused(family, num_heads, reason):
    with pytest.raises(InputError, match=reason):
        lltc.ready_components(arrays(FAMILIES[family](**SIZES)), "heads", num_heads=num_heads)


def test_other_families_and_words_are_refused():
    with pytest.raises(InputError, match=r"^'heads' are known by the names that .* none of these \('w'"):
        lltc.ready_components({"w": np.ones(2)}, "heads", num_heads=2)
    with pytest.raises(
        InputError, match=r"^kind must be one of heads, mlps, layers, embeddings, but 'head' was"
    ):
        lltc.ready_components({"w": np.ones(2)}, "head")
    fused = arrays({"h.0.attn.c_attn.weight": (4, 6), "h.0.attn.c_proj.weight": (4, 4)})
    with pytest.raises(
        InputError, match=r"num_heads=2 does not fit 'h\.0\.attn\.c_attn\.weight' of shape \(4, 6\)"
    ):
        lltc.ready_components(fused, "heads", num_heads=2)
