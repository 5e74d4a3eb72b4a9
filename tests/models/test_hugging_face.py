"""A network by its name where PyTorch is not: what is remembered of it, read as what others wrote."""

import base64
import errno
import gzip
import json
import shutil
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import huggingface_hub.constants as constants
import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import lltc
from lltc import models
from lltc.errors import CheckpointError, InputError
from lltc.models import from_hugging_face
from lltc.models.pretrained import store
from lltc.models.pretrained.names import network_from_json, network_to_json
from lltc.models.pretrained.source import find_source
from lltc.models.torch_graph.as_json import graph_from_json, graph_to_json
from lltc.models.torch_graph.from_file import read_exported
from tests.hubs import StandIn, as_the_hub
from tests.sweeping import FEW

NAMED, EXPORTED = (Path(__file__).parent / name for name in ("named", "exported"))
WANTED = np.load(NAMED / "losses.npz")
NEEDS_TORCH = r"is not in lltc's cache of graphs .* run  pip install 'lltc\[torch\]' transformers\.$"


def versions(installed: dict[str, str]) -> Callable[[str], str]:
    """Return what tells a library's version where these alone are installed."""

    def version(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    return version


@pytest.fixture(autouse=True)
def graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay a copy of what is remembered where it is looked for; what made it is not there."""
    shutil.copytree(NAMED / "cache", tmp_path / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setattr(store, "version", versions({}))
    return tmp_path / "cache" / "lltc" / "graphs"


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """Return a copy of the network's folder."""
    return shutil.copytree(NAMED / "net", tmp_path / "net")


def losses_of(model: models.Model, batch: Any) -> np.ndarray:
    each, mask = model(model.params, batch)
    return np.asarray((each * mask).sum(1) / mask.sum(1))


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint16"])
def test_losses_are_those_of_pytorch(dtype: str):
    model = models.hugging_face(NAMED / "net")
    np.testing.assert_allclose(losses_of(model, WANTED["ids"].astype(dtype)), WANTED["losses"], rtol=2e-6)
    assert isinstance(model.params["transformer"], dict)
    assert model.params.tied.keys() | model.params.spelled.keys() >= {"lm_head/weight", "wte/weight"}
    assert model.params.spelled["h/0/attn/bias"] is None


def test_a_batch_of_another_kind_needs_torch_and_transformers():
    model = models.hugging_face(str(NAMED / "net"))
    ids = WANTED["ids"]
    for batch in (ids[:, :6], ids.astype(float), {"input_ids": ids, "token_type_ids": ids}):
        with pytest.raises(InputError, match=NEEDS_TORCH):
            model.apply(model.params, batch)


def test_nones_are_a_part_of_a_call(monkeypatch: pytest.MonkeyPatch):
    model, asked = models.hugging_face(NAMED / "net"), set()
    monkeypatch.setattr(from_hugging_face, "recall", lambda key, _: asked.add(key))
    for more in ({}, {"attention_mask": None}, {"token_type_ids": None}):
        with pytest.raises(InputError, match=NEEDS_TORCH):
            model.apply(model.params, {"input_ids": WANTED["ids"]} | more)
    # Each is asked for with any number of rows, then with these.
    assert len(asked) == 6


def test_an_operator_outside_the_table_is_refused_by_its_line(graphs: Path, monkeypatch: pytest.MonkeyPatch):
    model, stored = models.hugging_face(NAMED / "net"), sorted(graphs.iterdir())
    graph = read_exported(EXPORTED / "mlp.pt2").graph
    other = graph._replace(nodes=(graph.nodes[0]._replace(op="torchvision.nms.default", line="line 3 of x"),))
    monkeypatch.setattr(from_hugging_face, "load_module", lambda *_: None)
    monkeypatch.setattr(from_hugging_face, "export_live", lambda *_: other)
    with pytest.raises(
        InputError, match=r"uses torchvision\.nms\.default at line 3 of x, which lltc does not"
    ):
        model.apply(model.params, WANTED["ids"][:, :6])
    assert sorted(graphs.iterdir()) == stored


def test_a_single_file_of_weights_goes_before_an_index(net: Path):
    whole = losses_of(models.hugging_face(net), WANTED["ids"])
    index = {"weight_map": {"more": "model-00001-of-00001.safetensors"}}
    (net / "model.safetensors.index.json").write_text(json.dumps(index))
    assert losses_of(models.hugging_face(net), WANTED["ids"]).tolist() == whole.tolist()
    [leaf] = jax.tree.leaves(lltc.checkpoints.open_checkpoint(net).load()["wte"])
    np.testing.assert_array_equal(leaf, load_file(net / "model.safetensors")["wte.weight"])


def test_weights_in_shards_and_in_16_bits_are_read_alike(net: Path):
    arrays = load_file(net / "model.safetensors")
    exact = {name: array.astype("bfloat16").astype(np.float32) for name, array in arrays.items()}
    save_file(exact, net / "model.safetensors")
    whole = losses_of(models.hugging_face(net), WANTED["ids"])
    (net / "model.safetensors").unlink()
    shards = {name: f"model-0000{1 + at % 2}-of-00002.safetensors" for at, name in enumerate(arrays)}
    for shard in set(shards.values()):
        save_file(
            {name: exact[name].astype("bfloat16") for name in arrays if shards[name] == shard}, net / shard
        )
    (net / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    model = models.hugging_face(net)
    assert losses_of(model, WANTED["ids"]).tolist() == whole.tolist()
    (net / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": shards | {"more": shards["wte.weight"]}})
    )
    with pytest.raises(
        CheckpointError, match=r"names 1 arrays its shards do not hold, the first being 'more'"
    ):
        models.hugging_face(net)


def test_weights_in_float8_are_read_as_the_numbers_they_are(net: Path):
    arrays = load_file(net / "model.safetensors")
    narrow = arrays["wte.weight"].astype("float8_e4m3fn")
    each = []
    for weights in (narrow, narrow.astype(np.float32)):
        save_file(arrays | {"wte.weight": weights}, net / "model.safetensors")
        each.append(losses_of(models.hugging_face(net), WANTED["ids"]).tolist())
    assert each[0] == each[1]


@pytest.mark.parametrize("path", sorted(EXPORTED.glob("*.pt2")), ids=lambda path: path.stem)
def test_every_graph_comes_back_from_its_json(path: Path):
    graph = read_exported(path).graph
    document = graph_to_json(graph)
    again = graph_from_json(json.loads(json.dumps(document, allow_nan=False)))
    assert graph_to_json(again) == document
    assert again.nodes == graph.nodes
    assert (again.call, again.outputs, again.names, again.rows) == (
        graph.call,
        graph.outputs,
        graph.names,
        graph.rows,
    )


def entry(graphs: Path, kind: str) -> Path:
    return min(graphs.glob(f"*-{kind}-*.json.gz"))


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the content of an entry."""
    document = json.loads(gzip.decompress(path.read_bytes()))
    change(document["content"])
    path.write_bytes(gzip.compress(json.dumps(document).encode()))


def node(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: content["nodes"][5].update(changes)


def constant(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    array = {"dtype": "float32", "shape": [2], "numbers": base64.b64encode(bytes(8)).decode()}
    return lambda content: content["constants"].update(c=array | changes)


GRAPHS = {
    "random": node(op="aten.rand.default"),
    "outside the table": node(op="aten.linalg_svd.default"),
    "python": node(op="builtins.eval"),
    "no name": node(op=["aten.add.Tensor"]),
    "not made": node(args=[{"ref": "nowhere"}]),
    "later": lambda content: content["nodes"].reverse(),
    "not returned": lambda content: content.update(outputs={"dict": {"logits": {"ref": "nowhere"}}}),
    "no kind": node(args=[{"pickle": "x"}]),
    "two kinds": node(args=[{"ref": "a", "float": "1"}]),
    "no type": node(dtypes={"tuple": ["object"]}),
    "no call": lambda content: content.update(call=[]),
    "no rows": lambda content: content.update(rows=[-1, None]),
    "unknown weight": lambda content: content["weights"].update({next(iter(content["weights"])): "other"}),
    "too short": constant(shape=[3]),
    "too long": constant(shape=[1 << 61, 1 << 61]),
    "negative": constant(shape=[-2]),
    "many axes": constant(shape=[1] * 65 + [2]),
    "objects": constant(dtype="object"),
    "no base64": constant(numbers="!!!!"),
    "no truth": constant(dtype="bool", shape=[8], numbers=base64.b64encode(bytes([2] * 8)).decode()),
    "nothing": lambda content: content.clear(),
    "no result": node(outputs={"tuple": []}, dtypes={"tuple": []}),
    "two results": node(outputs={"tuple": ["a", "b"]}, dtypes={"tuple": [None, None]}),
    "results without types": node(dtypes={"tuple": []}),
    "nothing returned": lambda content: content.update(outputs={"dict": {"logits": 1}}),
}
NAMES = {
    "no arrays": lambda content: content.update(arrays={}),
    "outer and inner": lambda content: content["arrays"].update(
        {"transformer": ["wte.weight", "float32", [40, 8]]}
    ),
    "slash": lambda content: content["arrays"].update({"a/b": ["wte.weight", "float32", [40, 8]]}),
    "twice": lambda content: content["arrays"].update(other=["wte.weight", "float32", [40, 8]]),
    "held": lambda content: content.update(held=["nowhere"]),
    "tied": lambda content: content["tied"].update(other="nowhere"),
    "objects": lambda content: content["arrays"]["transformer.wte.weight"].__setitem__(1, "object"),
    "no list": lambda content: content.update(arguments=3),
    "a file more": lambda content: content.update(unused=["more"]),
    "unknown twins": lambda content: content.update(twins=[["wte.weight", "more", True]]),
    "no twins": lambda content: content.update(twins=[["wte.weight", "wte.weight"]]),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_that_was_tampered_with_is_as_good_as_none(name: str, graphs: Path):
    model = models.hugging_face(NAMED / "net")
    for path in graphs.glob("*-graph-*"):
        rewrite(path, GRAPHS[name])
    with pytest.raises(InputError, match=NEEDS_TORCH):
        model.apply(model.params, WANTED["ids"])


@pytest.mark.parametrize("name", NAMES)
def test_names_that_were_tampered_with_are_as_good_as_none(name: str, graphs: Path):
    rewrite(entry(graphs, "names"), NAMES[name])
    with pytest.raises(InputError, match=NEEDS_TORCH):
        models.hugging_face(NAMED / "net")


def test_entries_of_another_version_or_place_are_as_good_as_none(
    graphs: Path, monkeypatch: pytest.MonkeyPatch
):
    path = entry(graphs, "names")
    whole = path.read_bytes()
    document = json.loads(gzip.decompress(whole))
    deep = b"[" * 100_000
    twice = json.dumps(document)[:-1] + f', "version": {store.VERSION}}}'
    for text in (
        json.dumps(document | {"version": store.VERSION + 1}),
        json.dumps(document | {"made_by": None}),
        json.dumps(document | {"key": "other"}),
        json.dumps([document]),
        deep.decode(),
        twice,
    ):
        path.write_bytes(gzip.compress(text.encode()))
        assert store.recall(path.name.removesuffix(".json.gz"), network_from_json) is None
    for content in (b"", whole[:50], b"no gzip", whole[:-4] + b"1234"):
        path.write_bytes(content)
        assert store.recall(path.name.removesuffix(".json.gz"), network_from_json) is None
    path.write_bytes(whole)
    assert store.recall(path.name.removesuffix(".json.gz"), network_from_json) is not None
    # A small file may unpack to a long one.
    monkeypatch.setattr(store, "MOST_JSON", 100)
    assert store.recall(path.name.removesuffix(".json.gz"), network_from_json) is None
    path.unlink()
    path.mkdir()
    assert store.recall(path.name.removesuffix(".json.gz"), network_from_json) is None


@pytest.mark.parametrize("kind", ["graph", "names"])
@pytest.mark.parametrize("seed", range(5))
def test_changed_letters_are_refused_or_harmless(seed: int, kind: str, graphs: Path):
    path = entry(graphs, kind)
    text, random = bytearray(gzip.decompress(path.read_bytes())), np.random.default_rng(seed)
    read = {"graph": graph_from_json, "names": network_from_json}[kind]
    for _ in range(100):
        changed = bytearray(text)
        for place in random.integers(0, len(text), 2):
            changed[place] = random.integers(32, 127)
        path.write_bytes(gzip.compress(bytes(changed), 1))
        store.recall(path.name.removesuffix(".json.gz"), read)


def test_what_other_versions_made_is_as_good_as_none(graphs: Path, monkeypatch: pytest.MonkeyPatch):
    path = entry(graphs, "names")
    made_by = json.loads(gzip.decompress(path.read_bytes()))["made_by"]
    assert set(made_by) == {"torch", "transformers", "peft"}
    recalled = lambda: store.recall(path.name.removesuffix(".json.gz"), network_from_json)
    monkeypatch.setattr(store, "version", versions(made_by))
    assert recalled() is not None
    for name in made_by:
        monkeypatch.setattr(store, "version", versions({name: made_by[name]}))
        assert recalled() is not None
        monkeypatch.setattr(store, "version", versions({name: "0"}))
        assert recalled() is None


def test_names_are_remembered_with_which_arrays_are_equal(net: Path, graphs: Path):
    rewrite(
        entry(graphs, "names"),
        lambda content: content.update(twins=[["wte.weight", "h.0.attn.bias", False]]),
    )
    models.hugging_face(net)
    arrays = load_file(net / "model.safetensors")
    save_file(arrays | {"h.0.attn.bias": arrays["wte.weight"]}, net / "model.safetensors")
    with pytest.raises(InputError, match=NEEDS_TORCH):
        models.hugging_face(net)


def test_what_is_remembered_is_written_whole_and_comes_back(graphs: Path, monkeypatch: pytest.MonkeyPatch):
    read = lambda path, reader: store.recall(path.name.removesuffix(".json.gz"), reader)
    for path, reader, write in (
        (entry(graphs, "graph"), graph_from_json, graph_to_json),
        (entry(graphs, "names"), network_from_json, network_to_json),
    ):
        before, item = path.read_bytes(), read(path, reader)
        path.unlink()
        monkeypatch.setattr(store, "version", versions(json.loads(gzip.decompress(before))["made_by"]))
        store.remember(path.name.removesuffix(".json.gz"), write(item))
        assert json.loads(gzip.decompress(path.read_bytes())) == json.loads(gzip.decompress(before))
    assert not [*graphs.glob(".*.tmp")]


def reshape(net: Path) -> None:
    arrays = load_file(net / "model.safetensors")
    save_file(arrays | {"wte.weight": arrays["wte.weight"][:-1]}, net / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda net: (net / "config.json").unlink(), r"net' holds no config\.json: give the folder"),
        (lambda net: (net / "config.json").write_text("[1]"), r"has a config\.json that is no table"),
        (lambda net: (net / "config.json").write_text("{"), r"has a config\.json that cannot be read"),
        (lambda net: (net / "config.json").write_text("{}"), NEEDS_TORCH),
        (
            lambda net: (net / "model.safetensors").unlink(),
            r"holds no weights, neither model\.safetensors nor",
        ),
        (
            lambda net: (net / "model.safetensors").write_bytes(b"x" * 99),
            r"^Cannot read checkpoint '.*damaged",
        ),
        (reshape, r"'wte\.weight' in '.*' have the shape \(39, 8\) and should have \(40, 8\) by"),
        (lambda net: (net / "adapter_config.json").write_text("{}"), r"names no base_model_name_or_path"),
    ],
)
def test_what_is_not_whole_is_told_in_one_sentence(damage: Callable, match: str, net: Path):
    damage(net)
    with pytest.raises(InputError, match=match) as caught:
        models.hugging_face(net)
    assert len(str(caught.value).splitlines()) == 1


def refuse(*_: Any) -> Any:
    raise PermissionError(errno.EACCES, "Permission denied")


def test_what_is_no_source_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch):
    for source in ("no such folder", "a/b/c", "hf://datasets/a/b", "https://huggingface.co/a/b"):
        with pytest.raises(InputError, match="which is no folder here: give a folder with config"):
            models.hugging_face(source)
    with pytest.raises(
        InputError, match=r"source is 'x+…', which cannot be read \(File name too long\): give"
    ):
        models.hugging_face("x" * 300)
    with pytest.raises(InputError, match=r"source must be a folder or a name and is a module: give a folder"):
        models.hugging_face(json)  # pyright: ignore[reportArgumentType]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", refuse)
        with pytest.raises(InputError, match=r"cannot be read \(Permission denied"):
            models.hugging_face(NAMED / "net")
    with pytest.raises(InputError, match="loss must be one of"):
        models.hugging_face(NAMED / "net", "casual_lm")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        InputError, match=r"'a/b' is no folder here, .* needs a library; .* pip install 'lltc\[huggingf"
    ):
        models.hugging_face("a/b")


def test_where_the_cache_cannot_be_a_folder_torch_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match=NEEDS_TORCH):
        models.hugging_face(NAMED / "net")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Serve the network at three steps, each with its own bias, spelled as the hub does."""
    arrays = load_file(NAMED / "net" / "model.safetensors")
    revisions = {}
    for step in (0, 1, 8):
        moved = {
            name: array + (step / 8 if name == "h.0.mlp.c_fc.bias" else 0) for name, array in arrays.items()
        }
        save_file(moved, tmp_path / "made.safetensors")
        revisions[f"step{step}"] = {
            "model.safetensors": (tmp_path / "made.safetensors").read_bytes(),
            "config.json": (NAMED / "net" / "config.json").read_bytes(),
            "pytorch_model.bin": b"not read",
        }
    revisions["main"] = revisions["step8"]
    with as_the_hub(StandIn({"org/tiny": revisions}), tmp_path / "home", monkeypatch) as hub:
        yield hub


def test_a_sweep_over_revisions_by_their_name(hub: StandIn, tmp_path: Path):
    """The files lack GPT-2's prefix and hold its masks: the model knows how they are spelled."""
    model = models.hugging_face("org/tiny")
    swept = lltc.sweep(
        lltc.find_checkpoints("hf://org/tiny", revisions="step*"),
        model,
        WANTED["ids"],
        out=tmp_path / "out",
        **FEW,
    )
    assert swept.curve.step.values.tolist() == [0, 1, 8]
    assert np.isfinite(swept.curve.llc.values).all()
    assert hub.asked("pytorch_model") == 0
    bias = lambda step: models.hugging_face(f"hf://org/tiny@step{step}").params["transformer"]["h"]["0"][
        "mlp"
    ]["c_fc"]
    assert [float(bias(step)["bias"][0] - bias(0)["bias"][0]) for step in (1, 8)] == [0.125, 1.0]


def test_offline_what_the_cache_holds_is_read(hub: StandIn, monkeypatch: pytest.MonkeyPatch):
    before = losses_of(models.hugging_face("hf://org/tiny@step8"), WANTED["ids"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.requests)
    assert losses_of(models.hugging_face("hf://org/tiny@step8"), WANTED["ids"]).tolist() == before.tolist()
    with pytest.raises(InputError, match=r"'org/other' is no folder here, and from .*: offline mode is on"):
        models.hugging_face("org/other")
    assert len(hub.requests) == asked


def test_the_base_of_an_adapter_may_have_a_short_name_and_a_revision_with_a_slash(
    hub: StandIn, tmp_path: Path
):
    files = hub.repositories["org/tiny"]
    hub.repositories["gpt2"] = {"main": files["main"], "runs/one": files["step1"]}
    settings = {"base_model_name_or_path": "gpt2", "peft_type": "LORA"}
    for revision, config in ((None, files["main"]), ("runs/one", files["step1"])):
        (tmp_path / "adapter_config.json").write_text(json.dumps(settings | {"revision": revision}))
        origin = find_source(tmp_path)
        assert (origin.folder / "model.safetensors").read_bytes() == config["model.safetensors"]
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": "bert"}))
    with pytest.raises(
        InputError, match=r"^the base 'hf://bert' of the adapter '.*' does not load: 'hf://bert' is no folder"
    ):
        find_source(tmp_path)


@pytest.mark.usefixtures("hub")
def test_what_the_hub_does_not_have_is_told_in_one_sentence():
    with pytest.raises(InputError, match=r"'org/none' is no folder here, .*: there is no such repository"):
        models.hugging_face("org/none")
    with pytest.raises(InputError, match=r"'hf://org/tiny@step3' is no .*: the hub has no such revision\.$"):
        models.hugging_face("hf://org/tiny@step3")


def test_a_busy_hub_is_asked_again_and_a_silent_one_is_not_missed(
    hub: StandIn, monkeypatch: pytest.MonkeyPatch
):
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    hub.troubles = {"GET .*/revision": ["down"]}
    before = find_source("org/tiny").folder
    assert len(waits) == 1
    hub.troubles = {".*": ["down"] * 100}
    assert find_source("org/tiny").folder == before
    with pytest.raises(InputError, match="the hub answers 503"):
        find_source("org/other")


def test_checkpoints_fit_however_they_are_spelled(net: Path):
    model = models.hugging_face(net)
    [leaf] = jax.tree.leaves(lltc.checkpoints.open_checkpoint(net).load(model.params)["transformer"]["wte"])
    np.testing.assert_array_equal(leaf, load_file(net / "model.safetensors")["wte.weight"])
    # What a Trainer saves has the network's own names.
    own = {
        model.params.spelled[name.replace(".", "/")]: array
        for name, array in load_file(net / "model.safetensors").items()
    }
    save_file(
        {name.replace("/", "."): array for name, array in own.items() if name}, net / "step_1.safetensors"
    )
    loaded = lltc.checkpoints.open_checkpoint(net / "step_1.safetensors").load(model.params)
    assert all(map(np.array_equal, jax.tree.leaves(loaded), jax.tree.leaves(model.params)))
