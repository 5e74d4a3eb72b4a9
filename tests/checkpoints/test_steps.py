"""Steps read from names, and log-spaced steps."""

import itertools
import math

import pytest
from hypothesis import given
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
        ("best", None),
        ("model.safetensors", None),
        ("loss=0.52", None),
        ("model-00001-of-00002.safetensors", None),
    ],
)
def test_step_is_read_from_names_people_use(name, step):
    assert parse_step(name) == step


@given(
    step=st.integers(0, 10**12), prefix=st.sampled_from(["step_", "ckpt-", "checkpoint_", "", "model.step"])
)
def test_any_step_survives_its_name(step, prefix):
    assert parse_step(f"{prefix}{step}.npz") == step
    assert parse_step(f"{prefix}{step:09d}") == step


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
