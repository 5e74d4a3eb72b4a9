"""The parts of the bridge from PyTorch: weights, calls, the table of operators, what is refused."""

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc import models
from lltc.checkpoints import fit_params
from lltc.errors import CheckpointError, InputError
from lltc.export.lines import line_of
from lltc.export.operators import KINDS as NAMES
from lltc.export.refusals import check_operator
from lltc.models.losses import resolve_loss
from lltc.models.torch_calls import as_call, one_by_one, pick_loss, pick_output
from lltc.models.torch_graph.ops import KINDS
from lltc.models.torch_graph.weights import Weights, by_name
from lltc.models.torch_model import graphs_by_kind
from tests.processes import ran

EXPORTED = Path(__file__).parent / "exported"
X = np.random.default_rng(0).normal(size=(7, 2, 9, 9)).astype(np.float32)


@pytest.fixture(scope="module")
def images() -> models.Model:
    return models.torch_exported(EXPORTED / "images.pt2", "classification")


def test_every_operator_is_named_on_pytorchs_side():
    """What is exported where only PyTorch is takes apart exactly what the table lacks."""
    assert {kind: set(names.split()) for kind, names in NAMES.items()} == {
        kind: set(table) for kind, table in KINDS.items()
    }


def test_weights_are_a_pytree_that_keeps_what_it_knows():
    weights = Weights.nest({"a.w": np.ones(2), "n.mean": np.zeros(2)}, tied={"b.w": "a.w"}, held=["n.mean"])
    moved = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 1, tree))(weights)
    assert (moved.tied, moved.held) == ({"b/w": "a/w"}, frozenset(["n/mean"]))
    assert by_name(moved, weights)["b.w"].tolist() == [2.0, 2.0]
    with pytest.raises(InputError, match=r"plain dict, in which \['n.mean'\] would move"):
        by_name({"a": {"w": 1.0}, "n": {"mean": 0.0}}, weights)
    assert by_name({"a": {"w": 1.0}}, weights)["n.mean"] is weights["n"]["mean"]
    with pytest.raises(InputError, match=r"missing \['a.w'\], unknown \['c'\]"):
        by_name({"c": 1.0}, weights)


def test_buffers_never_move(images):
    data = (X, np.arange(7) % 5)
    posterior = lltc.local_posterior(images, images.params, data)
    trained = {name for name in lltc.list_components(images.params) if name.selected}
    assert not {name.path for name in trained} & images.params.held
    assert posterior.num_params == sum(row.size for row in trained)
    with pytest.raises(InputError, match="selects no floating-point parameter"):
        lltc.local_posterior(images, images.params, data, restrict="batch/running_mean")


def test_checkpoints_bring_their_buffers_and_tied_names():
    template = Weights.nest(
        {"a.w": np.ones(2, np.float32), "n.mean": np.zeros(2)}, tied={"b.w": "a.w"}, held=["n.mean"]
    )
    saved = {"a.w": np.full(2, 3.0), "n.mean": np.full(2, 5.0)}
    assert fit_params(saved, template)["n"]["mean"].tolist() == [5.0, 5.0]
    other = fit_params({"module": {"b": {"w": np.full(2, 4.0)}}}, template)
    assert isinstance(other, Weights)
    assert (other["a"]["w"].tolist(), other["n"]["mean"].tolist()) == ([4.0, 4.0], [0.0, 0.0])
    both = fit_params({**saved, "b.w": np.full(2, 3.0)}, template)
    assert both["a"]["w"].tolist() == [3.0, 3.0]
    with pytest.raises(CheckpointError, match=r"different arrays at 'b\.w' and 'a\.w'"):
        fit_params({**saved, "b.w": np.full(2, 3.5)}, template)
    with pytest.raises(CheckpointError, match="1 of 1 arrays of the template are missing"):
        fit_params({"n": {"mean": np.zeros(2)}}, Weights.nest({"a": np.ones(2)}, held=["n.mean"]))


def test_behavioral_losses_of_a_network_from_a_file(images):
    data = (X, np.arange(7) % 5)
    outputs = images.apply(images.params, data)
    assert outputs.shape == (7, 5)
    moved = jax.tree.map(
        lambda leaf: leaf + 0.01 if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, images.params
    )
    distance = lltc.behavioral(images.apply, "kl").against
    assert float(distance(images.params, images.params, data).max()) == 0.0
    assert float(distance(moved, images.params, data).max()) > 0.0


@pytest.mark.parametrize(
    ("batch", "names", "whole", "expected"),
    [
        (1, ["x"], False, ((1,), {})),
        ((1, 2), ["x"], False, ((1,), {})),
        ((1, 2), ["x", "y"], True, ((1, 2), {})),
        ({"x": 1, "y": 2}, ["x"], False, ((), {"x": 1})),
        ({"image": 1, "label": 2}, ["pixels"], False, ((1,), {})),
        ({"input_ids": 1, "labels": 2, "idx": 3}, ["input_ids", "labels"], False, ((), {"input_ids": 1})),
        ({"input_ids": 1, "labels": 2}, ["input_ids", "labels"], True, ((), {"input_ids": 1, "labels": 2})),
    ],
)
def test_batches_become_calls(batch, names, whole, expected):
    assert as_call(batch, None, names, whole=whole) == expected


def test_chosen_inputs_are_spread_by_their_kind():
    assert as_call((1, 2, 3), lambda b: b[:2], ["x", "y"], whole=False) == ((1, 2), {})
    assert as_call((1, 2), lambda b: {"y": b[1]}, None, whole=False) == ((), {"y": 2})
    with pytest.raises(InputError, match="inputs not found"):
        as_call({"a": 1}, "b", ["a"], whole=False)


def test_outputs_are_picked_by_name_place_and_function():
    assert pick_output({"loss": 1, "logits": 2}, "loss") == 1
    assert pick_output(((3, 4), 5), None) == 3
    assert pick_output((3, 4), lambda outputs: outputs[1]) == 4
    with pytest.raises(InputError, match="outputs='hidden' is not there: the module returns the names"):
        pick_output({"logits": 2}, "hidden")
    with pytest.raises(InputError, match="outputs=2 is not there: the module returns 2 outputs"):
        pick_output((1, 2), 2)


def test_own_losses_are_taken_example_by_example():
    loss = one_by_one(lambda w, batch: pick_loss((batch["x"], w * jnp.mean(batch["x"])), None))
    np.testing.assert_allclose(loss(2.0, {"x": np.array([[1.0, 3.0], [2.0, 2.0]])}), [4.0, 4.0])
    with pytest.raises(InputError, match="no loss of its own"):
        pick_loss({"logits": jnp.ones(3)}, None)


def by_example(pair):
    """Return each example's mean loss over the tokens that count, 0 where none does."""
    losses, mask = pair
    return jnp.where(mask, losses, 0.0).sum(1) / jnp.maximum(1, mask.sum(1))


def test_losses_of_language_models():
    logits, ids = jax.random.normal(jax.random.key(0), (2, 4, 5)), jnp.array([[1, 2, 3, 4], [1, 2, 0, 0]])
    each = -jax.nn.log_softmax(logits)
    causal = resolve_loss("causal_lm")
    wanted = [np.mean([each[0, t, ids[0, t + 1]] for t in range(3)]), float(each[1, 0, 2])]
    mask = jnp.array([[1, 1, 1, 1], [1, 1, 0, 0]])
    batch = {"input_ids": ids, "attention_mask": mask}
    np.testing.assert_allclose(by_example(causal(logits, batch)), wanted, rtol=1e-6)
    np.testing.assert_allclose(by_example(causal(logits, ids))[0], wanted[0], rtol=1e-6)
    labels = jnp.where(mask == 1, ids, -100)
    batch = {"input_ids": ids, "labels": labels}
    np.testing.assert_allclose(by_example(causal(logits, batch)), wanted, rtol=1e-6)
    masked = resolve_loss("masked_lm")
    labels = jnp.array([[-100, 3, -100, -100], [-100, -100, -100, -100]])
    ours = by_example(masked(logits, {"labels": labels}))
    np.testing.assert_allclose(ours, [float(each[0, 1, 3]), 0.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("target", "match"),
    [
        ("aten.rand_like.default", "draws random numbers at line 3 of net.py"),
        ("aten.nonzero.default", "makes sizes or Python numbers of its data at line 3"),
        ("aten.linalg_svd.default", r"uses aten.linalg_svd.default at line 3 .* docs/torch.md"),
    ],
)
def test_refusals_name_the_line(target: str, match: str):
    trace = 'File "/x/net.py", line 3, in forward\n    y = f(x)\n File "/a-packages/torch/f", line 9, in f\n'
    assert line_of(trace) == "line 3 of net.py (y = f(x))"
    with pytest.raises(InputError, match=match):
        check_operator(target, line_of(trace))


def test_batches_that_do_not_fit_the_file_are_refused(images):
    with pytest.raises(InputError, match=r"have the shape \(7, 2, 8, 9\), where the graph was exported for"):
        images.apply(images.params, X[:, :, :8])
    with pytest.raises(InputError, match=r"must have the names \['ids', 'mask'\] and have \['ids'\]"):
        models.torch_exported(EXPORTED / "masked.pt2", "squared", inputs="ids").apply(
            models.torch_exported(EXPORTED / "masked.pt2", "squared").params, {"ids": np.ones((2, 6), int)}
        )


def test_the_rows_of_a_call_are_those_of_each_array():
    graph_of = graphs_by_kind(lambda *kind: kind[1:])  # pyright: ignore[reportArgumentType]
    assert graph_of((np.ones((1, 3)), np.ones(1)), {}) == ((((3,), "float"), ((), "float")), 1)
    for call in ({"scale": 2.0, "x": X}, {"x": X, "y": X[:3]}):
        with pytest.raises(
            InputError, match=r"inputs have the shapes \(.*the first axis of each must be the batch"
        ):
            graph_of((), call)
    masked = models.torch_exported(EXPORTED / "masked.pt2", "squared")
    ids = np.ones((2, 6), int)
    with pytest.raises(InputError, match=r"shapes \(2, 6\), \(3, 6\), and the first axis"):
        masked.apply(masked.params, {"ids": ids, "mask": np.ones((3, 6), bool)})
    with pytest.raises(InputError, match=r"have the shape \(\), where the graph was exported"):
        masked.apply(masked.params, {"ids": 2, "mask": ids > 0})


def rewritten(
    path: Path, change: Callable[[dict[str, bytes]], None], method: int = zipfile.ZIP_STORED
) -> Path:
    """Return a copy of a file whose parts, by name, `change` has changed."""
    with zipfile.ZipFile(EXPORTED / "quiet.pt2") as source:
        parts = {name: source.read(name) for name in source.namelist()}
    change(parts)
    with zipfile.ZipFile(path, "w", method) as target:
        for name, content in parts.items():
            target.writestr(name, content)
    return path


def edit(name: str, change: Callable[[dict], None]) -> Callable[[dict[str, bytes]], None]:
    """Return a change of one JSON part."""

    def changed(parts: dict[str, bytes]) -> None:
        full = next(part for part in parts if part.endswith(name))
        document = json.loads(parts[full])
        change(document)
        parts[full] = json.dumps(document).encode()

    return changed


def weight(**changes) -> Callable[[dict[str, bytes]], None]:
    return edit("model_weights_config.json", lambda d: d["config"]["layer.weight"].update(changes))


def meta(**changes) -> Callable[[dict[str, bytes]], None]:
    return edit(
        "model_weights_config.json", lambda d: d["config"]["layer.weight"]["tensor_meta"].update(changes)
    )


def spread(stored: dict, length: int) -> None:
    """Let an array show its first number `length` times."""
    stored["tensor_meta"] |= {"sizes": [{"as_int": length}], "strides": [{"as_int": 0}]}


def repeated(parts: dict[str, bytes]) -> None:
    """Let many arrays show the numbers of one again and again, each of them another number of times."""

    def repeat(document: dict) -> None:
        for place in range(20):
            copy = json.loads(json.dumps(document["config"]["layer.weight"]))
            spread(copy, (1 << 26) + place)
            document["config"][f"more{place}"] = copy

    edit("model_weights_config.json", repeat)(parts)


def repeated_constant(parts: dict[str, bytes]) -> None:
    """Let one large constant enter under many names."""

    def enter(document: dict) -> None:
        specs = document["graph_module"]["signature"]["input_specs"]
        for place in range(20):
            spec = {"arg": {"name": f"c{place}"}, "tensor_constant_name": "layer.weight"}
            specs.append({"tensor_constant": spec})

    edit("model_weights_config.json", lambda d: spread(d["config"]["layer.weight"], 1 << 26))(parts)
    edit("models/model.json", enter)(parts)


def deep(document: dict) -> None:
    document["config"][".".join(["a"] * 5000)] = document["config"]["layer.weight"]


def schema(document: dict) -> None:
    document["schema_version"]["major"] = 9


def unknown(document: dict) -> None:
    document["graph_module"]["graph"]["nodes"][0]["target"] = "torch.ops.aten.rand.default"


def foreign(document: dict) -> None:
    document["graph_module"]["graph"]["nodes"][0]["inputs"][0]["arg"] = {"as_tensor": {"name": "nowhere"}}


def no_format(parts: dict[str, bytes]) -> None:
    del parts[next(name for name in parts if name.endswith("archive_format"))]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (weight(use_pickle=True), "'layer.weight' is pickled"),
        (weight(path_name="weight_9"), "not laid out"),
        (meta(sizes=[{"as_int": 1 << 61}, {"as_int": 4}]), "are allowed for its"),
        (meta(sizes=[{"as_int": -1}, {"as_int": 4}]), "no whole number from 0"),
        (
            meta(strides=[{"as_int": 0}, {"as_int": 0}], sizes=[{"as_int": 1 << 31}] * 2),
            "are allowed for its",
        ),
        (repeated, "are allowed for its"),
        (repeated_constant, "a constant would take it to .* are allowed for its"),
        (edit("model_weights_config.json", deep), "nests 100 deep or more"),
        (meta(storage_offset={"as_int": 1}), "ends beyond its last number"),
        (meta(dtype=77), "PyTorch's type 77"),
        (edit("models/model.json", schema), "schema has the version 9, and 8 is read"),
        (edit("models/model.json", unknown), "draws random numbers at line"),
        (edit("models/model.json", foreign), "before it is computed"),
        (no_format, "layout of PyTorch 2.9"),
    ],
)
def test_files_that_were_tampered_with_are_refused_in_one_sentence(change, match: str, tmp_path: Path):
    with pytest.raises(InputError, match=match) as caught:
        models.torch_exported(rewritten(tmp_path / "a.pt2", change), "squared")
    assert len(str(caught.value).splitlines()) == 1


def test_damaged_files_are_refused(tmp_path: Path):
    whole = (EXPORTED / "quiet.pt2").read_bytes()
    for name, content in {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"PK no zip"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=r"as a file of torch\.export\.save"):
            models.torch_exported(tmp_path / name, "squared")
    packed = rewritten(tmp_path / "packed.pt2", lambda _: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="compressed"):
        models.torch_exported(packed, "squared")
    with pytest.raises(CheckpointError, match=r"no regular file|Is a directory"):
        models.torch_exported(tmp_path, "squared")


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes_are_refused_or_harmless(seed: int, tmp_path: Path):
    content = bytearray((EXPORTED / "quiet.pt2").read_bytes())
    random = np.random.default_rng(seed)
    for place in random.integers(0, len(content), 30):
        content[place] ^= 1 << int(random.integers(8))
    (tmp_path / "flipped.pt2").write_bytes(content)
    with pytest.raises(InputError):
        models.torch_exported(tmp_path / "flipped.pt2", "squared")


def test_torch_is_named_with_its_pip_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"needs the library torch, .*pip install 'lltc\[torch\]'"):
        models.torch(None, "squared")


def test_the_exporter_imports_beside_pytorch_alone():
    """Neither JAX nor NumPy nor lazy_loader is there where a module was trained."""
    code = (
        "import sys\n"
        "for name in ('jax', 'numpy', 'lazy_loader', 'ml_dtypes'): sys.modules[name] = None\n"
        "import lltc.export.__main__"
    )
    ran([sys.executable, "-c", code])


def test_the_page_lists_every_operator():
    page = (Path(__file__).parents[2] / "docs" / "torch.md").read_text()
    for kind, names in NAMES.items():
        assert f"- {kind}: {', '.join(f'`{name}`' for name in names.split())}.\n" in page
