"""The staircase run: checkpoints on disk, plateaus at the published heights, transitions where they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lltc import toys
from lltc.errors import InputError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return toys.train_bottleneck(tmp_path_factory.mktemp("bottleneck") / "run")


def test_the_plateaus_stand_at_the_published_heights(run):
    assert [p.rank for p in run.plateaus] == [0, 1, 2, 3]
    assert [p.llc_limit for p in run.plateaus] == [6.5, 8.0, 9.5, 10.5]
    for plateau, published in zip(run.plateaus, [6.22, 7.89, 9.31, 10.50], strict=True):
        assert plateau.llc == pytest.approx(published, abs=0.01 + 3.5 * plateau.llc_se)
        assert plateau.llc_se < 0.007
        assert sum(plateau.step_low <= step <= plateau.step_high for step in run.steps) >= 5


def test_each_plateau_is_flat_from_end_to_end(run):
    for plateau in run.plateaus:
        for step in (plateau.step_low, plateau.step_high):
            end = run.exact_llc(step, num_sweeps=600, num_warmup=300)
            assert end.llc == pytest.approx(plateau.llc, abs=0.08 + 3.5 * end.llc_se)


def test_the_losses_fall_in_the_published_steps(run):
    loss = dict(zip(run.steps, run.losses, strict=True))
    assert loss[0] == pytest.approx(8.78125, abs=1e-4)
    assert loss[348] == pytest.approx(0.78125, abs=1e-3)
    assert loss[1065] == pytest.approx(0.06125, abs=1e-4)
    assert loss[3000] < 1e-8
    for params, value in zip(run.params[::12], run.losses[::12], strict=True):
        assert float(jnp.mean(run.model(params, run.data))) == pytest.approx(value, rel=1e-4, abs=1e-8)


def test_a_transition_is_where_the_exact_value_crosses_halfway(run):
    first = run.transitions[0]
    low, high = run.plateaus[0], run.plateaus[1]
    assert (first.step_low, first.step_high) == (low.step_high, high.step_low)
    assert first.step_low < first.step < first.step_high
    assert first.delta_llc == pytest.approx(7.89 - 6.22, abs=0.05)
    before, after = (run.exact_llc(first.step + shift, num_sweeps=600).llc for shift in (-4, 4))
    assert before < (low.llc + high.llc) / 2 < after
    assert [t.step > p.step_high for t, p in zip(run.transitions, run.plateaus[:-1], strict=True)] == [
        True
    ] * 3


def test_the_folder_holds_real_orbax_checkpoints_equal_to_the_run(run):
    import orbax.checkpoint as ocp

    assert sorted(int(p.name) for p in run.path.iterdir()) == list(run.steps)
    assert len(run.steps) == 48
    with ocp.CheckpointManager(run.path) as manager:
        for i in (0, 20, 47):
            read = manager.restore(run.steps[i], args=ocp.args.StandardRestore(run.params[i]))
            jax.tree.map(np.testing.assert_array_equal, read, run.params[i])


def test_apply_is_the_product_map_and_the_key_fixes_the_run(run, tmp_path):
    last = run.params[-1]
    np.testing.assert_allclose(run.apply(last, run.data["x"]), run.data["y"], atol=1e-4)
    again = toys.train_bottleneck(tmp_path / "again", num_steps=40, num_checkpoints=2)
    other = toys.train_bottleneck(tmp_path / "other", num_steps=40, num_checkpoints=2, key=1)
    jax.tree.map(np.testing.assert_array_equal, again.params[0], run.params[0])
    assert not np.array_equal(other.params[0]["layer1"]["kernel"], again.params[0]["layer1"]["kernel"])


def test_bad_input_is_refused_by_name(run, tmp_path):
    for settings, named in [
        ({"widths": (5, 5)}, "widths"),
        ({"singular_values": (1.0, 2.0)}, "singular_values"),
        ({"num_checkpoints": 1}, "num_checkpoints=1"),
    ]:
        with pytest.raises(InputError, match=named):
            toys.train_bottleneck(tmp_path, **settings)
    with pytest.raises(InputError, match="already holds something"):
        toys.train_bottleneck(run.path)
    with pytest.raises(InputError, match="step=9999"):
        run.exact_llc(9999)
