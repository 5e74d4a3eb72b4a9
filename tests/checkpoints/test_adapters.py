"""PEFT's adapters: A and B as they are, or added to the weights they were trained on."""

import json
import logging

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lltc.checkpoints import MergedInto, find_checkpoints, save_safetensors
from lltc.errors import CheckpointError
from lltc.posterior.fingerprint import fingerprint_code

RNG = np.random.default_rng(0)
Q, UP, EMBED = (RNG.normal(size=shape).astype(np.float32) for shape in ((4, 4), (6, 4), (9, 4)))
BASE = {"h.0.q.weight": Q, "h.0.q.bias": np.ones(4, np.float32), "h.0.up.weight": UP, "wte.weight": EMBED}
SETTINGS = {"peft_type": "LORA", "r": 2, "lora_alpha": 8}


def halves(module, weight, rank=2):
    rows, columns = weight.shape
    return {
        f"base_model.model.{module}.lora_A.weight": RNG.normal(size=(rank, columns)).astype(np.float32),
        f"base_model.model.{module}.lora_B.weight": RNG.normal(size=(rows, rank)).astype(np.float32),
    }


def product(adapter, module, kind=".weight"):
    prefix = f"base_model.model.{module}.lora_"
    down, up = (adapter[f"{prefix}{half}{kind}"].astype(np.float64) for half in "AB")
    return np.einsum("or,ri->oi", up, down)


@pytest.fixture
def merged(tmp_path):
    def merge(adapter, base=BASE, **settings):
        folder = tmp_path / "run" / "checkpoint-5"
        path = save_safetensors(folder / "adapter_model.safetensors", adapter)
        (folder / "optimizer.pt").write_bytes(b"not read")
        (folder / "adapter_config.json").write_text(json.dumps(SETTINGS | settings))
        loader = MergedInto(save_safetensors(tmp_path / "base.safetensors", base))
        [checkpoint] = find_checkpoints(path.parent.parent, loader=loader)
        return checkpoint.load()

    return merge


def test_an_adapter_alone_is_its_halves(tmp_path):
    adapter = halves("h.0.q", Q)
    save_safetensors(tmp_path / "checkpoint-7" / "adapter_model.safetensors", adapter)
    [checkpoint] = find_checkpoints(tmp_path)
    assert checkpoint.step == 7
    assert set(checkpoint.load()) == set(adapter)


def test_halves_are_added_at_their_scale(merged):
    adapter = halves("h.0.q", Q) | halves("h.0.up", UP)
    weights = merged(adapter)
    np.testing.assert_allclose(weights["h"]["0"]["q"]["weight"], Q + 4 * product(adapter, "h.0.q"), rtol=1e-5)
    np.testing.assert_allclose(
        weights["h"]["0"]["up"]["weight"], UP + 4 * product(adapter, "h.0.up"), rtol=1e-5
    )
    np.testing.assert_array_equal(weights["wte"]["weight"], EMBED)


def test_the_settings_scale_each_module(merged):
    adapter = halves("h.0.q", Q, 4) | halves("h.0.up", UP)
    weights = merged(adapter, use_rslora=True, rank_pattern={"q": 4}, alpha_pattern={"0.up": 3})
    np.testing.assert_allclose(weights["h"]["0"]["q"]["weight"], Q + 4 * product(adapter, "h.0.q"), rtol=1e-5)
    expected = UP + 3 / np.sqrt(2) * product(adapter, "h.0.up")
    np.testing.assert_allclose(weights["h"]["0"]["up"]["weight"], expected, rtol=1e-5)


@pytest.mark.parametrize("turned", [True, False])
def test_weights_of_in_and_out_are_changed_by_the_transpose(merged, turned):
    base = {"h.0.q.weight": Q, "h.0.up.weight": UP.T}
    adapter = halves("h.0.q", Q) | halves("h.0.up", UP)
    weights = merged(adapter, base, fan_in_fan_out=turned)
    change = product(adapter, "h.0.q")
    np.testing.assert_allclose(
        weights["h"]["0"]["q"]["weight"], Q + 4 * (change.T if turned else change), rtol=1e-5
    )
    expected = (UP + 4 * product(adapter, "h.0.up")).T
    np.testing.assert_allclose(weights["h"]["0"]["up"]["weight"], expected, rtol=1e-5)


def test_embeddings_biases_and_whole_modules_are_taken(merged):
    prefix = "base_model.model."
    adapter = {
        f"{prefix}wte.lora_embedding_A": RNG.normal(size=(2, 9)).astype(np.float32),
        f"{prefix}wte.lora_embedding_B": RNG.normal(size=(4, 2)).astype(np.float32),
        f"{prefix}h.0.q.bias": np.full(4, 3, np.float32),
        f"{prefix}h.0.up.weight": 2 * UP,
    }
    weights = merged(adapter)
    up, down = (adapter[f"{prefix}wte.lora_embedding_{half}"] for half in "BA")
    np.testing.assert_allclose(weights["wte"]["weight"], EMBED + 4 * (up @ down).T, rtol=1e-5)
    np.testing.assert_array_equal(weights["h"]["0"]["q"]["bias"], [3, 3, 3, 3])
    np.testing.assert_array_equal(weights["h"]["0"]["up"]["weight"], 2 * UP)


def test_outer_levels_that_one_side_lacks_do_not_matter(merged):
    adapter = halves("transformer.h.0.q", Q)
    expected = Q + 4 * product(adapter, "transformer.h.0.q")
    np.testing.assert_allclose(merged(adapter)["h"]["0"]["q"]["weight"], expected, rtol=1e-5)


def test_a_bfloat16_base_keeps_small_changes(merged):
    base = {name: np.ones(array.shape, ml_dtypes.bfloat16) for name, array in BASE.items()}
    adapter = {name: 0.01 * half for name, half in halves("h.0.q", Q).items()}
    weight = merged(adapter, base)["h"]["0"]["q"]["weight"]
    np.testing.assert_allclose(weight, 1 + 4 * product(adapter, "h.0.q"), rtol=1e-6)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.booleans())
def test_no_change_is_no_change(rows, columns, rank, turned):
    from lltc.checkpoints.adapters import _merge

    weight = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    adapter = {"q.lora_A.weight": np.ones((rank, columns)), "q.lora_B.weight": np.zeros((rows, rank))}
    settings = SETTINGS | {"fan_in_fan_out": turned}
    if not turned or rows == columns:
        np.testing.assert_array_equal(_merge({"q.weight": weight}, adapter, settings)["q.weight"], weight)
    np.testing.assert_array_equal(_merge({"q.weight": weight.T}, adapter, settings)["q.weight"], weight.T)


def test_an_untrained_adapter_is_told(tmp_path, caplog):
    for step, scale in ((0, 0), (10, 1)):
        adapter = {name: half * (scale if "lora_B" in name else 1) for name, half in halves("q", Q).items()}
        save_safetensors(tmp_path / f"checkpoint-{step}" / "adapter_model.safetensors", adapter)
    with caplog.at_level(logging.WARNING, "lltc.checkpoints"):
        for checkpoint in find_checkpoints(tmp_path):
            checkpoint.load()
    [message] = caplog.messages
    assert "checkpoint-0': every B is zero, so it is the base itself" in message


@pytest.mark.parametrize(
    ("adapter", "settings", "reason"),
    [
        (halves("h.0.q", Q), {"peft_type": "IA3"}, "it is of the kind IA3, not LORA"),
        (halves("h.0.q", Q), {"use_dora": True}, "it uses use_dora, which adds more than"),
        (
            halves("h.0.q", Q),
            {"init_lora_weights": "pissa_niter_4"},
            "'pissa_niter_4', which changed the base",
        ),
        (halves("h.0.q", Q), {"alpha_pattern": {"(a+)+b": 3}}, r"its alpha_pattern holds the expression"),
        (halves("h.1.q", Q), {}, r"changes 'h\.1\.q\.weight', which the base does not have; pass the base"),
        (halves("h.0.q", UP), {}, r"of shape \(4, 4\) by a matrix of shape \(6, 4\); pass the base"),
        ({"h.0.q.lora_A.weight": np.ones((2, 4))}, {}, "without its other half"),
        (
            {"h.0.up.weight": np.ones((2, 4))},
            {},
            r"'h\.0\.up\.weight' is of shape \(2, 4\), the base's \(6, 4\)",
        ),
    ],
)
def test_what_cannot_be_merged_is_refused(merged, adapter, settings, reason):
    with pytest.raises(
        CheckpointError, match=rf"^Cannot merge '.*checkpoint-5' into '.*base\.safetensors': .*{reason}"
    ):
        merged(adapter, **settings)


def test_a_quantized_base_is_refused(merged):
    with pytest.raises(CheckpointError, match=r"base's 'h\.0\.q\.weight' is of type int8, quantized"):
        merged(halves("h.0.q", Q), base=BASE | {"h.0.q.weight": np.ones((4, 4), np.int8)})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"peft_type": "LORA"}'])
def test_damaged_settings_are_told(tmp_path, text):
    save_safetensors(tmp_path / "run" / "checkpoint-5" / "adapter_model.safetensors", halves("h.0.q", Q))
    (tmp_path / "run" / "checkpoint-5" / "adapter_config.json").write_text(text)
    loader = MergedInto(save_safetensors(tmp_path / "base.safetensors", BASE))
    with pytest.raises(
        CheckpointError, match=r"^Cannot read checkpoint '.*checkpoint-5', it may be truncated or"
    ):
        find_checkpoints(tmp_path / "run", loader=loader)[0].load()


def test_another_base_is_another_loader(tmp_path):
    path = save_safetensors(tmp_path / "base.safetensors", BASE)
    one = fingerprint_code(MergedInto(path))
    assert one == fingerprint_code(MergedInto(path))
    save_safetensors(path, BASE | {"wte.weight": EMBED + 1})
    assert one != fingerprint_code(MergedInto(path))
