"""Steps read from names, and log-spaced steps."""

import itertools
import math
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lltc.checkpoints import log_spaced_steps, parse_step
from lltc.errors import InputError


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step_1000", 1000),
        ("step1000", 1000),
        ("ckpt-1000", 1000),
        ("checkpoint_10", 10),
        ("checkpoint-500", 500),
        ("1000", 1000),
        ("0", 0),
        ("epoch=3-step=1200", 1200),
        ("step=1200-epoch=3", 1200),
        ("model.step1000.safetensors", 1000),
        ("model_0010.npz", 10),
        ("model.0010.npz", 10),
        ("global_step250", 250),
        ("resnet18_step_5.npz", 5),
        ("ckpt-1000-loss=0.52", 1000),
        ("model_1000_loss0.52.npz", 1000),
        ("step1000-tokens4B", 1000),
        ("step_10k", 10_000),
        ("step_2M.safetensors", 2_000_000),
        ("iter_000300.pth", 300),
        ("iter_0001000", 1000),
        ("model_0001000.npz", 1000),
        ("step=1200-v1.ckpt", 1200),
        ("epoch=3-step=1200.ckpt", 1200),
        ("best-epoch=3-step=1200.ckpt", 1200),
        ("epoch_3_seed_42", 3),
        ("Step_7", 7),
        ("step_1.5k", 1500),
        ("step_0.5M.npz", 500_000),
        ("ckpt_1e5", 100_000),
        ("2e+04", 20_000),
        ("step-2.5E4", 25_000),
        ("1_000_000", 1_000_000),
        ("step_1_000_000", 1_000_000),
        ("step=10,000", 10_000),
        ("10M", 10_000_000),
        ("10M-tokens", 10_000_000),
        ("1.2B-tokens", 1_200_000_000),
        ("tokens_1.2B", 1_200_000_000),
        ("500k-steps", 500_000),
        ("3000iterations", 3000),
        ("step-3000-tokens-6B", 3000),
        ("epoch_2_steps_300", 300),
        ("ep3-ba1200-rank0.pt", 1200),
        ("pythia-70m-step1000", 1000),
        ("llama-7b-step100", 100),
        ("global_step500", 500),
        ("global_step_500_mp_rank_00", 500),
        ("step_100-v2", 100),
        ("step_10-a1b2c3d4", 10),
        ("run_20240506_step_3", 3),
        ("Nov29_12-00-00_model_7", 7),
        ("marker_10", 10),
        ("model-7", 7),
        ("7-10", 10),
        ("model - 7", 7),
        ("step_1000_7B", 1000),
        # What has two readings, or is no step.
        ("step_1_000", None),
        ("step_1 000", None),
        ("step_1'000", None),
        ("step_1_5M", None),
        ("step_1\u00a0000", None),
        ("step_10^3", None),
        ("step_2**10", None),
        ("10^3", None),
        ("-100", None),
        ("model--5", None),
        ("model_-5.npz", None),
        ("step_1.5", None),
        ("step_.5k", None),
        ("step_1.0005k", None),
        ("step--5", None),
        ("step_1_iter_2", None),
        ("3000-steps-6B-tokens", None),
        ("checkpoint_7B", None),
        ("v2", None),
        ("model-v2", None),
        ("version_3", None),
        ("9f86d081", None),
        ("12e4567", None),
        ("sha256-9f86d081", None),
        ("2024-05-06", None),
        ("05-31-2024", None),
        ("20240506", None),
        ("march_10_2024", None),
        ("mp_rank_00", None),
        ("mp_rank_00_model_states.pt", None),
        ("zero_pp_rank_0_mp_rank_00_optim_states.pt", None),
        ("rank0", None),
        ("stage_1", None),
        ("model_reward_100", None),
        ("best", None),
        ("model.safetensors", None),
        ("loss=0.52", None),
        ("model-00001-of-00002.safetensors", None),
        ("checkpoint_3_15000.pt", None),
        ("epoch_3_1500.pt", None),
        ("checkpoint_20240506_120000.pt", None),
        ("resnet50-0676ba61.pth", None),
        ("seed_1_steps_1000.pt", 1000),
        ("lr_1e-3_steps_5000.pt", 5000),
        ("loss_0.25_steps_1000.pt", 1000),
        ("model_1000_steps.pt", 1000),
    ],
)
def test_step_is_read_from_names_people_use(name, step):
    assert parse_step(name) == step


@given(
    step=st.integers(0, 10**12), prefix=st.sampled_from(["step_", "ckpt-", "checkpoint_", "", "model.step"])
)
def test_any_step_survives_its_name(step, prefix):
    # A bare 20620901 may be a day.
    assume(prefix or not re.match("(?:19|20)[0-9]{6}", str(step)))
    assert parse_step(f"{prefix}{step}.npz") == step
    assert parse_step(f"{prefix}{step:09d}") == step


WORDS = st.sampled_from(["step_", "steps=", "iter-", "global_step", "update ", "Step:"])


@given(
    step=st.integers(0, 10**12),
    before=st.sampled_from(["", "run3-", "pythia-70m-", "2024-05-06_", "seed1_", "epoch=3-"]),
    word=WORDS,
    after=st.sampled_from(["", "-v2", "-loss=0.52", "_final", "-a1b2c3d", "-rank0", ".npz", ".safetensors"]),
)
def test_a_step_is_read_in_every_spelling_whatever_stands_around_it(step, before, word, after):
    places = len(str(step)) - 1
    shifted = f"{str(step)[0]}.{str(step)[1:] or '0'}"
    spellings = [str(step), f"{step:,}", f"{step:012d}", f"{shifted}e{places}", f"{shifted}e+{places:02d}"]
    spellings += [f"{step}e0", f"{step / 1000:.3f}k" if step < 10**12 else "1000000000k"]
    spellings += [f"{step:_}"] if not 1000 <= step < 10**6 else []
    for spelling in spellings:
        assert parse_step(f"{before}{word}{spelling}{after}") == step
    for spelling in spellings:
        assert parse_step(f"{spelling}-steps{after}") == step


@given(num_steps=st.integers(1, 100_000), share=st.floats(0, 1))
def test_log_spaced_steps_are_exact_in_count_and_increase(num_steps, share):
    num_checkpoints = 2 + round(share * min(num_steps - 1, 300))
    steps = log_spaced_steps(num_steps, num_checkpoints)
    assert len(steps) == num_checkpoints
    assert (steps[0], steps[-1]) == (0, num_steps)
    assert all(low < high for low, high in itertools.pairwise(steps))


def test_log_spaced_steps_space_evenly_in_the_logarithm():
    steps = log_spaced_steps(10**6, 8)
    assert steps == (0, 1, 10, 100, 1000, 10_000, 100_000, 1_000_000)
    ratios = [math.log(high / low) for low, high in itertools.pairwise(steps[1:])]
    assert ratios == pytest.approx([math.log(10)] * 6)


def test_log_spaced_steps_with_as_many_checkpoints_as_steps_takes_every_step():
    assert log_spaced_steps(5, 6) == (0, 1, 2, 3, 4, 5)
    assert log_spaced_steps(5, 1) == (5,)


@pytest.mark.parametrize("num_checkpoints", [0, 7])
def test_log_spaced_steps_refuses_counts_without_room(num_checkpoints):
    with pytest.raises(InputError, match=f"num_checkpoints is {num_checkpoints}, but 5 steps"):
        log_spaced_steps(5, num_checkpoints)
