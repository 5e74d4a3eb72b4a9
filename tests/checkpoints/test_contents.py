"""What checkpoints hold beside the parameters, and what is wrapped around them: told apart, or refused."""

import warnings
from collections import OrderedDict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from flax.serialization import msgpack_serialize
from safetensors.numpy import save_file

from lltc.checkpoints import find_checkpoints, fit_params, open_checkpoint, save_npz
from lltc.errors import CheckpointError, InputError, LLCWarning
from tests.checkpoints.writing_torch import save_torch

W, B = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, -1], np.float32)
STATE = OrderedDict([("fc.weight", W), ("fc.bias", B)])
ADAM = {"state": {0: {"step": 3, "exp_avg": W}}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}
TEMPLATE = {"fc": {"weight": np.zeros((2, 3), np.float32), "bias": np.zeros(2, np.float32)}}


def assert_model(loaded):
    assert loaded.keys() == {"fc"}
    np.testing.assert_array_equal(loaded["fc"]["weight"], W)
    np.testing.assert_array_equal(loaded["fc"]["bias"], B)


def renamed(pattern):
    return OrderedDict((pattern.format(name), array) for name, array in STATE.items())


@pytest.mark.parametrize(
    "state",
    [
        {"model": STATE, "optimizer": ADAM},
        {"module": STATE, "optimizer": ADAM, "epoch": 3},
        {"net": STATE, "acc": 92.5, "epoch": 3},
        {"network": STATE, "optim": ADAM},
        {"state_dict": STATE, "lr_schedulers": [], "global_step": 7},
        {"model_state_dict": STATE, "loss": 0.25},
        {"state_dict": STATE},
        {"app": {"model": STATE, "optim": ADAM}},
        {
            "model": STATE,
            "last_optimizer_state": ADAM,
            "optimizer_history": [{"lr": 0.1}],
            "cfg": {"lr": 0.1},
        },
        {"state": {"model": STATE, "optimizers": {"AdamW": ADAM}}, "rng": [3]},
        {"state_dict": STATE, "optimizer_G": ADAM, "optD": ADAM},
        {"model": {"state_dict": STATE, "config": {"width": 3}}, "optimizer": ADAM},
        {"module": STATE, "n_averaged": np.array(3, np.float32)},
        {"model": renamed("_orig_mod.{}"), "opt": ADAM, "step": 3},
        {
            "module": STATE,
            "optimizer": None,
            "global_steps": 500,
            "ds_config": {"zero": 2},
            "mp_world_size": 1,
        },
    ],
)
def test_the_model_is_found_in_what_trainers_save(tmp_path, state):
    assert_model(open_checkpoint(save_torch(tmp_path / "step_1.pt", state)).load())


@pytest.mark.parametrize("wrapper", ["_orig_mod", "module", "_fsdp_wrapped_module"])
@pytest.mark.parametrize("place", ["{}.fc.{}", "fc.{}.{}", "{}.module.fc._checkpoint_wrapped_module.{}"])
def test_wrappers_leave_names_at_any_level(tmp_path, wrapper, place):
    named = {place.format(wrapper, "weight"): W, place.format(wrapper, "bias"): B}
    assert_model(open_checkpoint(save_torch(tmp_path / "step_1.pt", named)).load(TEMPLATE))
    save_file(named, tmp_path / "step_1.safetensors")
    checkpoint = open_checkpoint(tmp_path / "step_1.safetensors")
    assert_model(checkpoint.load(TEMPLATE))
    if wrapper == "_orig_mod" and "module" not in place:
        assert_model(checkpoint.load())


def test_a_level_that_the_template_has_too_is_no_wrapper():
    template = {"module": {"w": jnp.zeros(3)}, "w": jnp.zeros(2)}
    path_names = {"module.w": np.arange(3.0), "w": np.arange(2.0)}
    fitted = fit_params(path_names, template)
    np.testing.assert_array_equal(fitted["module"]["w"], [0, 1, 2])
    np.testing.assert_array_equal(fitted["w"], [0, 1])


def test_deepspeed_folders_yield_their_module(tmp_path):
    state = {
        "module": STATE,
        "optimizer": None,
        "global_steps": 500,
        "dp_world_size": 2,
        "ds_version": "0.15",
    }
    for step in (500, 1000):
        folder = tmp_path / f"global_step{step}"
        save_torch(folder / "mp_rank_00_model_states.pt", state)
        for rank in (0, 1):
            save_torch(
                folder / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt", {"optimizer_state_dict": ADAM}
            )
    (tmp_path / "latest").write_text("global_step1000")
    (tmp_path / "zero_to_fp32.py").write_text("")
    found = find_checkpoints(tmp_path)
    assert [(checkpoint.step, checkpoint.format) for checkpoint in found] == [(500, "torch"), (1000, "torch")]
    assert_model(found[1].load())


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["zero_pp_rank_0_mp_rank_00_model_states.pt"],
            r"split as ZeRO stage 3 does; .* zero_to_fp32\.py, which",
        ),
        (
            ["mp_rank_00_model_states.pt", "mp_rank_01_model_states.pt"],
            r"split over 2 files such as 'mp_rank_01",
        ),
        (
            ["mp_rank_00_model_states.pt", "layer_00-model_00-model_states.pt"],
            "split over 2 files such as 'mp_ran",
        ),
        (
            ["mp_rank_00_model_states.pt", "layer_0_expert_0_mp_rank_00_model_states.pt"],
            "split over 2 files such as 'mp_ran",
        ),
    ],
)
def test_deepspeed_models_in_pieces_are_refused(tmp_path, files, message):
    for name in files:
        save_torch(tmp_path / "global_step5" / name, {"module": STATE, "global_steps": 5})
    [checkpoint] = find_checkpoints(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load()


@pytest.mark.parametrize("module", [None, {"fc.weight": np.zeros(0, np.float32), "fc.bias": B}])
def test_deepspeed_files_without_the_weights_are_refused(tmp_path, module):
    path = save_torch(tmp_path / "mp_rank_00_model_states.pt", {"module": module, "global_steps": 5})
    with pytest.raises(
        CheckpointError, match=r"its weights are not in it, as ZeRO stage 3 and .* zero_to_fp32"
    ):
        open_checkpoint(path).load()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "10/__0_0.distcp",
            r"10' is a distributed checkpoint of PyTorch \(\.distcp\).* dcp_to_torch_save, as",
        ),
        (
            "model_10.weights.h5",
            r"Keras's own files are not read: load the model with Keras and save its var",
        ),
        ("model_10.keras", r"Keras's own files are not read"),
        ("ckpt-10.index", r"TensorFlow's files are not read"),
        ("step_10.pkl", r"pickles are never read"),
    ],
)
def test_what_other_libraries_alone_can_read_is_refused_with_a_remedy(tmp_path, name, message):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=message) as caught:
        find_checkpoints(tmp_path)
    assert "\n" not in str(caught.value)


def test_keras_folders_yield_what_is_trained_and_say_so_of_the_statistics(tmp_path):
    def variables(*arrays):
        return {"dense": dict(zip(("kernel", "bias"), arrays, strict=False))}

    tree = {
        "trainable_variables": variables(W, B),
        "non_trainable_variables": {"batch_normalization": {"moving_mean": B}},
        "optimizer_variables": {"adam": {"iteration": np.int32(3), "dense_kernel_momentum": W}},
        "metrics_variables": {"loss": {"count": np.float32(1), "total": np.float32(2)}},
    }
    with ocp.CheckpointManager(tmp_path) as manager:
        manager.save(7, args=ocp.args.Composite(pytree=ocp.args.StandardSave(tree)))
    [checkpoint] = find_checkpoints(tmp_path)
    with pytest.warns(LLCWarning, match=r"running statistics \('non_trainable_variables'\) beside"):
        loaded = checkpoint.load()
    assert loaded.keys() == {"dense"}
    np.testing.assert_array_equal(loaded["dense"]["kernel"], W)
    [checkpoint] = find_checkpoints(tmp_path, params_key="optimizer_variables/adam")
    assert checkpoint.load()["iteration"] == 3


def test_states_of_nnx_are_read_beside_their_random_keys(tmp_path):
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.linear, self.dropout = nnx.Linear(2, 3, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    state = nnx.state(Net(nnx.Rngs(0)))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "step_1", state)
    template = nnx.to_pure_dict(nnx.state(Net(nnx.Rngs(1)), nnx.Param))
    loaded = open_checkpoint(tmp_path / "step_1").load(template)
    jax.tree.map(np.testing.assert_array_equal, loaded, nnx.to_pure_dict(nnx.filter_state(state, nnx.Param)))


@pytest.mark.parametrize(
    ("state", "averaged"),
    [
        ({"model": {"w": W}, "model_ema": {"w": W + 1}, "optimizer": {}}, "model_ema"),
        ({"params": {"w": W}, "ema_params": {"w": W + 1}}, "ema_params"),
        ({"net": {"w": W}, "ema": {"w": W + 1}}, "ema"),
        ({"params": {"w": W}, "params_ema": {"w": W + 1}, "opt_state": {"mu": W}, "step": 3}, "params_ema"),
        ({"state_dict": {"w": W}, "state_dict_ema": {"w": W + 1}, "epoch": 3}, "state_dict_ema"),
    ],
)
def test_averaged_weights_are_named_and_the_user_chooses(tmp_path, state, averaged):
    path = tmp_path / "step_1.msgpack"
    path.write_bytes(msgpack_serialize(state))
    message = (
        rf"hold averaged weights \('{averaged}'\) beside .*, which is read; pass params_key='{averaged}' for"
    )
    with pytest.warns(LLCWarning, match=message):
        np.testing.assert_array_equal(open_checkpoint(path).load()["w"], W)
    np.testing.assert_array_equal(open_checkpoint(path, averaged).load()["w"], W + 1)


@pytest.mark.parametrize(
    ("state", "raw"),
    [
        (
            {"state_dict": {"w": W + 1}, "current_model_state": {"w": W}, "global_step": 3},
            "current_model_state",
        ),
        ({"state_dict": {"w": W + 1}, "ema_state_dict": {"w": W}, "message_hub": {}}, "ema_state_dict"),
    ],
)
def test_averages_that_took_the_place_of_the_weights_are_known(tmp_path, state, raw):
    path = save_torch(tmp_path / "step_1.pt", state)
    message = (
        rf"averaged weights \('state_dict'\) beside '{raw}', which is read; pass params_key='state_dict'"
    )
    with pytest.warns(LLCWarning, match=message):
        np.testing.assert_array_equal(open_checkpoint(path).load()["w"], W)


def test_a_parameter_that_is_called_as_a_count_is_a_parameter(tmp_path):
    params = {"query": W, "key": W, "value": W, "net": {"w": W}}
    assert open_checkpoint(save_npz(tmp_path / "step_1.npz", params)).load().keys() == params.keys()
    state = {"net": {"w": W}, "head": {"w": W}, "step": 3}
    message = (
        r"holds 'head' beside 'net' and a count: it may be .*params_key='net' for that part, or '' for all"
    )
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(save_torch(tmp_path / "step_2.pt", state)).load()
    assert open_checkpoint(tmp_path / "step_2.pt", "").load().keys() == state.keys()
    assert open_checkpoint(tmp_path / "step_2.pt", "net").load().keys() == {"w"}


@pytest.mark.parametrize("scale", ["weight_scale_inv", "SCB", "absmax"])
def test_codes_beside_their_scale_are_no_weights(scale):
    saved = {"fc": {"weight": W.astype(np.int8), scale: B}}
    with pytest.raises(
        CheckpointError, match=rf"'fc/weight' is quantized: its int8 .*'fc/{scale}'; dequantize"
    ):
        fit_params(saved, {"fc": {"weight": W}}, ignore=[f"*/{scale}"])


def test_layers_with_such_names_are_layers(tmp_path):
    params = {"encoder": {"w": W}, "ema": {"decay": B}, "net": {"w": W}}
    assert open_checkpoint(save_npz(tmp_path / "step_1.npz", params)).load().keys() == params.keys()


def test_a_layer_that_is_called_like_a_trainers_part_is_kept(tmp_path):
    tree = {"net": {"w": W}, "scaler": {"mean": B}}
    path = tmp_path / "step_1.msgpack"
    path.write_bytes(msgpack_serialize(tree))
    assert open_checkpoint(path).load().keys() == tree.keys()


def test_statistics_stay_beside_the_params_or_are_said_to_be_left(tmp_path):
    variables = {"model": {"w": W}, "batch_stats": {"bn": {"mean": B}}}
    path = tmp_path / "step_1.msgpack"
    path.write_bytes(msgpack_serialize(variables))
    assert open_checkpoint(path).load().keys() == variables.keys()
    state = {"params": {"w": W}, "batch_stats": {"bn": {"mean": B}}, "opt_state": {"mu": {"w": W}}, "step": 3}
    path.write_bytes(msgpack_serialize(state))
    with pytest.warns(
        LLCWarning, match=r"running statistics \('batch_stats'\) beside 'params', and they are not"
    ):
        assert open_checkpoint(path).load().keys() == {"w"}
    template = {"params": {"w": jnp.zeros((2, 3))}, "batch_stats": {"bn": {"mean": jnp.zeros(2)}}}
    loaded = open_checkpoint(path, "", ignore=["opt_state/*", "step"]).load(template)
    np.testing.assert_array_equal(loaded["batch_stats"]["bn"]["mean"], B)


def test_snapshots_of_a_hub_cache_are_called_by_their_revisions(tmp_path):
    home = tmp_path / "models--org--net"
    for number, (revision, digest) in enumerate(
        {"step1000": "a1" * 20, "step20": "9e" * 20, "main": "77" * 20}.items()
    ):
        (home / "refs").mkdir(parents=True, exist_ok=True)
        (home / "blobs").mkdir(exist_ok=True)
        (home / "refs" / revision).write_text(digest)
        save_file({"w": np.full(2, number, np.float32)}, home / "blobs" / str(number))
        (home / "snapshots" / digest).mkdir(parents=True)
        (home / "snapshots" / digest / "model.safetensors").symlink_to(home / "blobs" / str(number))
    for folder in (home, home / "snapshots"):
        found = find_checkpoints(folder)
        assert [checkpoint.step for checkpoint in found] == [20, 1000]
        np.testing.assert_array_equal(found[1].load()["w"], [0, 0])
    (home / "refs" / "refs" / "pr").mkdir(parents=True)
    (home / "refs" / "refs" / "pr" / "7").write_text("77" * 20)
    assert [checkpoint.step for checkpoint in find_checkpoints(home)] == [20, 1000]
    (home / "refs" / "step30").write_text("9e" * 20)
    with pytest.raises(InputError, match=r"one commit under two names with a step, 'step20' and 'step30'"):
        find_checkpoints(home)
    for revision in ("step1000", "step20", "step30"):
        (home / "refs" / revision).unlink()
    with pytest.raises(
        InputError, match="is a Hugging Face cache without a revision that is named by a step"
    ):
        find_checkpoints(home)


BUFFERS = {"bn.num_batches_tracked": np.array(3), "rope.inv_freq": np.ones(4, np.float32)}


def test_what_has_no_place_in_the_template_is_ignored_when_named(tmp_path):
    save_file(STATE | BUFFERS, tmp_path / "step_1.safetensors")
    path = tmp_path / "step_1.safetensors"
    hint = r"; pass ignore=\['\*/num_batches_tracked', '\*/inv_freq'\] if they are no parameters\.\n"
    with pytest.raises(CheckpointError, match=hint):
        open_checkpoint(path).load(TEMPLATE)
    ignore = ["*/num_batches_tracked", "rope/*"]
    [checkpoint] = find_checkpoints(tmp_path, ignore=ignore)
    assert_model(checkpoint.load(TEMPLATE))
    assert_model(checkpoint.load())
    assert_model(open_checkpoint(path, ignore=ignore).load(TEMPLATE))
    with pytest.raises(CheckpointError, match="1 of 2 arrays of the template are missing"):
        open_checkpoint(path, ignore=[*ignore, "*/bias"]).load(TEMPLATE)


def test_what_ignore_names_goes_from_dicts_and_not_from_lists(tmp_path):
    path = save_npz(tmp_path / "step_1.npz", {"layers": [{"w": W, "steps": np.int32(3)}, B], "inv_freq": B})
    loaded = open_checkpoint(path, ignore="*/steps").load()
    assert loaded["layers"][0].keys() == {"w"}
    assert open_checkpoint(path, ignore="*/inv_freq").load().keys() == {"layers"}
    with pytest.raises(
        InputError, match=r"ignore=\['layers/0/\*'\] names a part of 'layers', a list that cannot"
    ):
        open_checkpoint(path, ignore="layers/0/*").load()


def test_other_words_for_ignore_are_refused(tmp_path):
    path = save_npz(tmp_path / "step_1.npz", {"w": W})
    wrong: Any = [3]
    with pytest.raises(
        InputError, match=r"^ignore is \[3\], but must be globs over the checkpoint's names; pass"
    ):
        open_checkpoint(path, ignore=wrong)


def test_a_head_that_may_be_tied_is_named(tmp_path):
    path = save_npz(tmp_path / "step_1.npz", {"wte": {"weight": np.ones((5, 2))}, "fc": {"weight": W}})
    template = {
        "wte": {"weight": jnp.zeros((5, 2))},
        "fc": {"weight": jnp.zeros((2, 3))},
        "lm_head": {"weight": jnp.zeros((5, 2))},
    }
    hint = (
        r"; 'lm_head/weight' may be tied to 'wte/weight': leave it out of the template, and let the model use"
    )
    with pytest.raises(CheckpointError, match=hint):
        open_checkpoint(path).load(template)


def test_nothing_is_said_of_a_plain_checkpoint(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_checkpoint(save_torch(tmp_path / "step_1.pt", STATE)).load()
