"""Networks by their names: as transformers loads them, then from what is remembered, to the bit."""

import gzip
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import huggingface_hub.constants as constants
import jax
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from families import GPT2, GROUPED, IDS, MASK, WIDTHS, as_on_the_hub, build, compare, losses_of, vit_sizes
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel

from lltc import models
from lltc.checkpoints import find_checkpoints
from lltc.errors import InputError, LLCWarning
from tests.hubs import StandIn, as_the_hub

TEXT = {"input_ids": IDS, "attention_mask": MASK}
PIXELS = np.random.default_rng(1).normal(size=(4, 3, 8, 8)).astype(np.float32)
CLASSES = np.array([0, 1, 2, 1])
NETWORKS = {
    "gpt2": ("GPT2", "CausalLM", GPT2, "causal_lm", TEXT),
    "gpt_neox": ("GPTNeoX", "CausalLM", WIDTHS, "causal_lm", TEXT),
    "llama": ("Llama", "CausalLM", GROUPED, "causal_lm", TEXT),
    "bert": ("Bert", "MaskedLM", WIDTHS, "masked_lm", TEXT | {"labels": np.where(IDS % 3 == 0, IDS, -100)}),
    "sentences": (
        "Bert",
        "SequenceClassification",
        WIDTHS | {"num_labels": 3},
        "classification",
        TEXT | {"labels": CLASSES},
    ),
    "vit": (
        "ViT",
        "ImageClassification",
        vit_sizes(),
        "classification",
        {"pixel_values": PIXELS, "labels": CLASSES},
    ),
}


@pytest.fixture(autouse=True)
def graphs(tmp_path, monkeypatch):
    """Remember graphs in a folder of the test's own, and return it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lltc" / "graphs"


@pytest.fixture
def without_torch(monkeypatch):
    """Return what makes torch, transformers and peft as if they were not installed."""

    def forget():
        for name in ("torch", "transformers", "peft"):
            monkeypatch.setitem(sys.modules, name, None)

    return forget


def expected_of(module, loss, batch):
    """Return PyTorch's losses of each example."""
    tensors = {name: torch.tensor(value) for name, value in batch.items()}
    labels = tensors.pop("labels", None)
    with sdpa_kernel(SDPBackend.MATH):
        logits = module(**tensors).logits
    if loss == "classification":
        return F.cross_entropy(logits, labels, reduction="none")
    if loss == "masked_lm":
        return losses_of(logits, labels)
    return losses_of(logits[:, :-1], torch.tensor(np.where(MASK == 1, IDS, -100))[:, 1:])


def bits(model, batch):
    """Return the bits of everything a model says of a batch, and of its weights."""
    outputs = jax.jit(model)(model.params, batch)
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves((outputs, model.params))]


def saved(folder, **options):
    """Save a tiny GPT-2 and return it."""
    module = build("GPT2", "CausalLM", GPT2)
    module.save_pretrained(folder, **options)
    return module


@pytest.mark.parametrize("shards", [False, True], ids=["single", "shards"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_those_of_transformers_and_then_need_it_no_more(name, shards, tmp_path, without_torch):
    family, kind, sizes, loss, batch = NETWORKS[name]
    module = build(family, kind, sizes)
    module.save_pretrained(tmp_path / "net", max_shard_size="8KB" if shards else "1GB")
    assert len([*(tmp_path / "net").glob("*.safetensors")]) > shards
    model = models.hugging_face(tmp_path / "net", loss)
    compare(module, model, batch, expected_of(module, loss, batch))
    first = bits(model, batch)
    without_torch()
    again = models.hugging_face(tmp_path / "net", loss)
    assert bits(again, batch) == first
    assert (again.params.tied, again.params.held) == (model.params.tied, model.params.held)
    refusal = pytest.raises(
        InputError, match=r"cache of graphs .* pip install 'lltc\[torch\]' transformers\.$"
    )
    with refusal:
        again.apply(again.params, {key: value[:, :2] for key, value in batch.items() if key != "labels"})


def test_weights_of_16_bits_are_computed_with_in_32(tmp_path, without_torch):
    module = saved(tmp_path / "net")
    module.bfloat16().save_pretrained(tmp_path / "net")
    model = models.hugging_face(tmp_path / "net")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(model.params)} == {"float32"}
    compare(module.float(), model, TEXT, expected_of(module.float(), "causal_lm", TEXT))
    first = bits(model, TEXT)
    without_torch()
    assert bits(models.hugging_face(tmp_path / "net"), TEXT) == first


def test_names_in_the_files_may_be_others(tmp_path, graphs, without_torch):
    module = build("GPT2", "CausalLM", GPT2)
    as_on_the_hub(tmp_path / "hub", module)
    module.save_pretrained(tmp_path / "own")
    hub, own = models.hugging_face(tmp_path / "hub"), models.hugging_face(tmp_path / "own")
    first = bits(hub, TEXT)
    assert bits(own, TEXT) == first
    # Both are of one configuration, so one graph is theirs.
    assert len([*graphs.glob("*-graph-*")]) == 1
    without_torch()
    assert [bits(models.hugging_face(tmp_path / name), TEXT) for name in ("hub", "own")] == [first, first]
    (tmp_path / "run").mkdir()
    shutil.copytree(tmp_path / "hub", tmp_path / "run" / "checkpoint-5")
    [checkpoint] = find_checkpoints(tmp_path / "run")
    loaded = checkpoint.load(hub.params)
    assert jax.tree.structure(loaded) == jax.tree.structure(hub.params)
    assert all(map(np.array_equal, jax.tree.leaves(loaded), jax.tree.leaves(hub.params)))


def test_two_revisions_of_one_configuration_share_one_graph(tmp_path, graphs, without_torch):
    module = saved(tmp_path / "one")
    before = bits(models.hugging_face(tmp_path / "one"), TEXT)
    with torch.no_grad():
        module.transformer.wte.weight.add_(0.1)
    module.save_pretrained(tmp_path / "two")
    stored = sorted(graphs.iterdir())
    without_torch()
    model = models.hugging_face(tmp_path / "two")
    assert bits(model, TEXT) != before
    assert sorted(graphs.iterdir()) == stored
    np.testing.assert_array_equal(
        model.params["transformer"]["wte"]["weight"], module.lm_head.weight.detach()
    )


def test_what_is_damaged_is_made_anew(tmp_path, graphs):
    saved(tmp_path / "net")
    first = bits(models.hugging_face(tmp_path / "net"), TEXT)
    contents = {path: path.read_bytes() for path in graphs.iterdir()}
    foreign = gzip.compress(json.dumps({"version": 99}).encode())
    for change in (b"", b"no gzip", foreign):
        for path in contents:
            path.write_bytes(change)
        assert bits(models.hugging_face(tmp_path / "net"), TEXT) == first
        assert {path: path.read_bytes() for path in graphs.iterdir()} == contents


def test_where_nothing_can_be_remembered_the_network_works(tmp_path, monkeypatch):
    module = saved(tmp_path / "net")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    compare(module, models.hugging_face(tmp_path / "net"), TEXT, expected_of(module, "causal_lm", TEXT))


def test_pickled_weights_are_left_to_transformers(tmp_path, graphs):
    module = saved(tmp_path / "net")
    torch.save(load_file(tmp_path / "net" / "model.safetensors"), tmp_path / "net" / "pytorch_model.bin")
    (tmp_path / "net" / "model.safetensors").unlink()
    compare(module, models.hugging_face(tmp_path / "net"), TEXT, expected_of(module, "causal_lm", TEXT))
    assert [*graphs.iterdir()] == []


def adapted(folder, base, settings):
    """Save an adapter of a network with random A and B, and return the network with it."""
    torch.manual_seed(1)
    module = get_peft_model(transformers.AutoModelForCausalLM.from_pretrained(base), settings)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    module.save_pretrained(folder)
    return module


def test_of_an_adapter_a_and_b_alone_move(tmp_path, without_torch):
    saved(tmp_path / "base")
    settings = LoraConfig(target_modules=["c_attn"], r=3, fan_in_fan_out=True, modules_to_save=["ln_f"])
    module = adapted(tmp_path / "run" / "checkpoint-5", tmp_path / "base", settings)
    model = models.hugging_face(tmp_path / "run" / "checkpoint-5")
    inner = module.get_base_model()
    compare(inner, model, TEXT, expected_of(module, "causal_lm", TEXT))
    leaves = jax.tree_util.tree_leaves_with_path(model.params)
    names = {jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves}
    trained = {name.replace(".", "/") for name, value in inner.named_parameters() if value.requires_grad}
    assert names - model.params.held == trained
    assert all("lora_" in name or "modules_to_save" in name for name in trained)
    first = bits(model, TEXT)
    # A checkpoint of an adapter holds what moves, the model the rest.
    [checkpoint] = find_checkpoints(tmp_path / "run")
    loaded = checkpoint.load(model.params)
    assert all(map(np.array_equal, jax.tree.leaves(loaded), jax.tree.leaves(model.params)))
    without_torch()
    again = models.hugging_face(tmp_path / "run" / "checkpoint-5")
    assert bits(again, TEXT) == first
    assert again.params.held == model.params.held


@pytest.fixture
def hub(tmp_path, monkeypatch):
    module = build("GPT2", "CausalLM", GPT2)
    revisions = {}
    for step in (0, 8):
        with torch.no_grad():
            module.transformer.h[0].mlp.c_fc.bias.fill_(step / 8)
        as_on_the_hub(tmp_path / f"step{step}", module)
        files = {path.name: path.read_bytes() for path in (tmp_path / f"step{step}").iterdir()}
        revisions[f"step{step}"] = files | {"README.md": b"#", "pytorch_model.bin": b"not read"}
    revisions["main"] = revisions["step8"]
    with as_the_hub(StandIn({"org/tiny": revisions}), tmp_path / "home", monkeypatch) as hub:
        yield hub


def test_networks_on_the_hub_by_their_names(hub, monkeypatch, without_torch):
    model = models.hugging_face("org/tiny")
    first = bits(model, TEXT)
    assert hub.asked("README|pytorch_model") == 0
    without_torch()
    assert bits(models.hugging_face("hf://org/tiny@step8"), TEXT) == first
    before = models.hugging_face("hf://org/tiny@step0")
    assert float(before.params["transformer"]["h"]["0"]["mlp"]["c_fc"]["bias"].max()) == 0.0
    found = find_checkpoints("hf://org/tiny", revisions="step*")
    assert [
        float(step.load(model.params)["transformer"]["h"]["0"]["mlp"]["c_fc"]["bias"][0]) for step in found
    ] == [0, 1]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.requests)
    assert bits(models.hugging_face("hf://org/tiny@step8"), TEXT) == first
    with pytest.raises(InputError, match=r"'org/other' is no folder here, and from .*: offline mode is on"):
        models.hugging_face("org/other")
    assert len(hub.requests) == asked


def change_config(folder, **changes):
    path = Path(folder) / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_the_loss_names_the_class_that_a_configuration_does_not(tmp_path):
    module = saved(tmp_path / "net")
    change_config(tmp_path / "net", architectures=["MyGPT"])
    compare(module, models.hugging_face(tmp_path / "net"), TEXT, expected_of(module, "causal_lm", TEXT))
    with pytest.raises(
        InputError, match=r"names no class that transformers has \('MyGPT'\), and the loss names"
    ):
        models.hugging_face(tmp_path / "net", lambda outputs, _: outputs)


@pytest.mark.parametrize("name", ["gpt2", "vit"])
def test_a_class_without_a_head_gives_way_to_that_of_the_loss(name, tmp_path):
    family, kind, sizes, loss, batch = NETWORKS[name]
    module = build(family, kind, sizes)
    module.save_pretrained(tmp_path / "net")
    change_config(tmp_path / "net", architectures=[f"{family}Model"])
    compare(module, models.hugging_face(tmp_path / "net", loss), batch, expected_of(module, loss, batch))


def test_a_class_without_a_head_cannot_make_one_up(tmp_path):
    transformers.BertModel(transformers.BertConfig(**WIDTHS)).save_pretrained(tmp_path / "net")
    assert "encoder" in models.hugging_face(tmp_path / "net", lambda outputs, _: outputs).params
    with pytest.raises(InputError, match=r"lack \d+ arrays of its network, the first being 'cls\."):
        models.hugging_face(tmp_path / "net", "masked_lm")


def test_arrays_that_are_of_no_use_are_told(tmp_path):
    module = saved(tmp_path / "net")
    path = tmp_path / "net" / "model.safetensors"
    save_file(load_file(path) | {"v_head.weight": torch.zeros(3)}, path, metadata={"format": "pt"})
    with pytest.warns(
        LLCWarning, match=r"holds 1 arrays that its class GPT2LMHeadModel has no use for, .*v_he"
    ):
        model = models.hugging_face(tmp_path / "net")
    compare(module, model, TEXT, expected_of(module, "causal_lm", TEXT))


def test_what_transformers_cannot_import_is_told_in_one_sentence(tmp_path, monkeypatch):
    saved(tmp_path / "net")

    class Broken(ModuleType):
        def __getattr__(self, name):
            raise RuntimeError(f"Failed to import {name}:\nno such library")

    monkeypatch.setitem(sys.modules, "transformers", Broken("transformers"))
    with pytest.raises(
        InputError, match=r"^transformers does not load '.*net': Failed to import GPT2LMHeadModel:\.$"
    ):
        models.hugging_face(tmp_path / "net")


def test_both_names_of_a_tied_pair_are_one_array_where_they_are_equal(tmp_path, graphs, without_torch):
    module = saved(tmp_path / "equal")
    arrays = load_file(tmp_path / "equal" / "model.safetensors")
    head = arrays["transformer.wte.weight"].clone()
    made, names = {}, ("equal", "apart", "equal")
    shutil.copytree(tmp_path / "equal", tmp_path / "apart")
    for folder, factor in (("equal", 1.0), ("apart", 2.0)):
        both = arrays | {"lm_head.weight": factor * head}
        save_file(both, tmp_path / folder / "model.safetensors", metadata={"format": "pt"})
    for name in names:
        model = models.hugging_face(tmp_path / name)
        assert ("lm_head/weight" in model.params.tied) == (name == "equal")
        assert made.setdefault(name, bits(model, TEXT)) == bits(model, TEXT)
    assert len([*graphs.glob("*-names-*")]) == 1
    compare(module, models.hugging_face(tmp_path / "equal"), TEXT, expected_of(module, "causal_lm", TEXT))
    without_torch()
    assert bits(models.hugging_face(tmp_path / "equal"), TEXT) == made["equal"]
    with pytest.raises(InputError, match=r"cache of graphs"):
        models.hugging_face(tmp_path / "apart")


def short(folder):
    path = folder / "model.safetensors"
    arrays = load_file(path)
    del arrays["transformer.h.0.mlp.c_fc.weight"]
    save_file(arrays, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda net: (net / "config.json").unlink(), r"net' holds no config\.json: give the folder"),
        (lambda net: (net / "config.json").write_text("{"), r"config\.json that cannot be read"),
        (lambda net: (net / "model.safetensors").unlink(), r"holds no weights, neither model\.safetensors"),
        (
            lambda net: (net / "model.safetensors").write_bytes(b"x" * 99),
            r"Cannot read checkpoint '.*model",
        ),
        (short, r"lack 1 arrays of its network, the first being 'transformer\.h\.0\.mlp\.c_fc\.weight'"),
        (lambda net: change_config(net, n_inner=8), r"have in another shape \d arrays of its network"),
        (
            lambda net: change_config(net, architectures=["X"], model_type="x"),
            r"has neither the class 'X' nor",
        ),
        (
            lambda net: change_config(
                net, architectures=["X"], model_type="x", auto_map={"AutoModel": "x.X"}
            ),
            r"is made by code of its own \(trust_remote_code\), which is never run",
        ),
        (lambda net: change_config(net, n_embd="wide"), r"^transformers does not load '.*net': "),
    ],
)
def test_what_cannot_be_loaded_is_told_in_one_sentence(damage, match, tmp_path):
    saved(tmp_path / "net")
    damage(tmp_path / "net")
    with pytest.raises(InputError, match=match) as caught:
        models.hugging_face(tmp_path / "net")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.usefixtures("hub")
def test_what_the_hub_does_not_have_is_told_in_one_sentence(monkeypatch):
    with pytest.raises(InputError, match=r"'org/none' is no folder here, .*: there is no such repository"):
        models.hugging_face("org/none")
    with pytest.raises(InputError, match=r"the hub has no such revision"):
        models.hugging_face("hf://org/tiny@step3")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        InputError, match=r"'org/elsewhere' is no folder here, and from the hub it cannot be had: "
    ):
        models.hugging_face("org/elsewhere")


def test_a_network_that_cannot_be_exported_is_refused_by_its_line(tmp_path):
    module = build("Bloom", "CausalLM", {"vocab_size": 40, "hidden_size": 16, "n_layer": 2, "n_head": 2})
    module.save_pretrained(tmp_path / "net")
    model = models.hugging_face(tmp_path / "net")
    with pytest.raises(InputError, match=r"GeLUFunction, at line \d+ of modeling_bloom.py"):
        model(model.params, TEXT)


def test_an_adapter_that_lacks_arrays_is_refused(tmp_path):
    saved(tmp_path / "base")
    adapted(tmp_path / "run", tmp_path / "base", LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True))
    path = tmp_path / "run" / "adapter_model.safetensors"
    arrays = load_file(path)
    del arrays["base_model.model.transformer.h.1.attn.c_attn.lora_A.weight"]
    save_file(arrays, path, metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=r"run' is not whole: .*missing adapter keys.*lora_A.*; fetch or save"
    ):
        models.hugging_face(tmp_path / "run")


def test_adapters_that_are_none_of_layers_are_refused(tmp_path):
    saved(tmp_path / "base")
    settings = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    adapted(tmp_path / "prompt", tmp_path / "base", settings)
    with pytest.raises(InputError, match=r"is of the kind PROMPT_TUNING, which adds to the inputs"):
        models.hugging_face(tmp_path / "prompt")
