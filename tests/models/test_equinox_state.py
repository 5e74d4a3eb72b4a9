"""Running statistics of Equinox: named, held fixed, and those of each checkpoint."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc import models
from lltc.checkpoints import open_checkpoint, save_npz
from lltc.errors import CheckpointError, InputError

X, Y = jax.random.normal(jax.random.key(1), (6, 3)), jnp.zeros((6, 2))
NAMES = [
    "batch_stats/spectral/uv_index/0",
    "batch_stats/spectral/uv_index/1",
    "batch_stats/norms/0/ema_first_time_index",
    "batch_stats/norms/0/ema_state_index/0",
    "batch_stats/norms/0/ema_state_index/1",
    "batch_stats/norms/1/batch_counter",
    "batch_stats/norms/1/batch_state_index/0",
    "batch_stats/norms/1/batch_state_index/1",
]


class Network(eqx.Module):
    """Its state does not lie in alphabetical order."""

    spectral: eqx.nn.SpectralNorm
    dropout: eqx.nn.Dropout
    norms: list[eqx.nn.BatchNorm]
    last: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.spectral = eqx.nn.SpectralNorm(eqx.nn.Linear(3, 4, key=keys[0]), "weight", key=keys[1])
        self.dropout = eqx.nn.Dropout(0.5)
        self.norms = [eqx.nn.BatchNorm(4, "batch", mode="ema"), eqx.nn.BatchNorm(4, "batch", mode="batch")]
        self.last = eqx.nn.Linear(4, 2, key=keys[2])

    def __call__(self, x, state, key=None):
        x, state = self.spectral(x, state)
        for norm in self.norms:
            x, state = norm(self.dropout(jnp.tanh(x), key=key), state)
        return self.last(x), state


def make(seed):
    """Return a network and a state in which every array is its own."""
    network, state = eqx.nn.make_with_state(Network)(jax.random.key(seed))
    leaves, structure = jax.tree.flatten(state)
    keys = jax.random.split(jax.random.key(seed + 10), len(leaves))
    numbers = [
        jax.random.uniform(key, leaf.shape, minval=0.5, maxval=1.5)
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
        else jnp.array(seed + 5).astype(leaf.dtype)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return network, jax.tree.unflatten(structure, numbers)


def losses_of(network, state):
    still = eqx.nn.inference_mode(network)
    return 0.5 * np.square([still(x, state)[0] for x in X]).sum(1)


@pytest.fixture(scope="module")
def model():
    network, state = make(0)
    return models.equinox(network, "squared", state=state)


@pytest.fixture(scope="module")
def later():
    return make(1)


def test_statistics_are_named_by_their_paths_and_never_move(model):
    posterior = lltc.local_posterior(model, model.params, (X, Y))
    names = posterior.target.layout.names
    assert sorted(name for name in names if name.startswith("batch_stats")) == sorted(NAMES)
    assert {name for name in posterior.target.layout.moved_names if name.startswith("batch_stats")} == set()
    assert posterior.num_params == 12 + 4 + 4 * 4 + 8 + 2
    with pytest.raises(InputError, match="selects no floating-point parameter"):
        lltc.local_posterior(model, model.params, (X, Y), restrict="*/uv_index/*")


@pytest.mark.parametrize("in_training", [True, False])
@pytest.mark.parametrize("order", [1, -1])
def test_each_checkpoint_brings_its_own_statistics(model, later, tmp_path, order, in_training):
    network = later[0] if in_training else eqx.nn.inference_mode(later[0])
    eqx.tree_serialise_leaves(tmp_path / "step_1.eqx", (network, later[1])[::order])
    params = open_checkpoint(tmp_path / "step_1.eqx").load(model.params)
    np.testing.assert_allclose(model(params, (X, Y)), losses_of(*later), rtol=2e-5)
    names = lltc.local_posterior(model, params, (X, Y)).target.layout.names
    assert sorted(name for name in names if name.startswith("batch_stats")) == sorted(NAMES)


def test_a_file_of_the_model_alone_is_refused_unless_its_weights_are_asked_for(model, later, tmp_path):
    eqx.tree_serialise_leaves(tmp_path / "step_1.eqx", later[0])
    checkpoint = open_checkpoint(tmp_path / "step_1.eqx")
    with pytest.raises(CheckpointError, match=r"8 of 16 arrays.*no running statistics: save them with the"):
        checkpoint.load(model.params)
    params = checkpoint.load(model.params["params"])
    np.testing.assert_allclose(model(params, (X, Y)), losses_of(later[0], make(0)[1]), rtol=2e-5)


def test_files_of_arrays_alone_and_of_other_formats_fit_too(model, later, tmp_path):
    eqx.tree_serialise_leaves(tmp_path / "step_1.eqx", eqx.filter(later, eqx.is_array))
    save_npz(tmp_path / "step_2.npz", models.equinox(later[0], "squared", state=later[1]).params)
    for name in ("step_1.eqx", "step_2.npz"):
        params = open_checkpoint(tmp_path / name).load(model.params)
        np.testing.assert_allclose(model(params, (X, Y)), losses_of(*later), rtol=2e-5)


def test_flags_and_rates_in_a_file_are_passed_over(tmp_path):
    network = eqx.nn.Sequential([eqx.nn.Dropout(0.5), eqx.nn.Linear(3, 2, key=jax.random.key(0))])
    eqx.tree_serialise_leaves(tmp_path / "step_1.eqx", network)
    template = jax.tree.map(jnp.zeros_like, models.equinox(network, "squared").params)
    loaded = open_checkpoint(tmp_path / "step_1.eqx").load(template)
    np.testing.assert_array_equal(loaded.layers[1].weight, network.layers[1].weight)
    assert loaded.layers[0].p is None


def test_what_can_be_read_in_two_ways_is_refused(tmp_path):
    eqx.tree_serialise_leaves(tmp_path / "step_1.eqx", (jnp.zeros(2), jnp.ones(2)))
    with pytest.raises(CheckpointError, match=r"as \(model, state\) and as \(state, model\); pass loader"):
        open_checkpoint(tmp_path / "step_1.eqx").load({"params": jnp.zeros(2), "batch_stats": jnp.zeros(2)})


def test_numbers_of_another_kind_are_no_weights(tmp_path):
    eqx.tree_serialise_leaves(tmp_path / "step_1.eqx", [True, 0.5])
    with pytest.raises(CheckpointError, match=r"type bool where the template has '0' of type float32"):
        open_checkpoint(tmp_path / "step_1.eqx").load([jnp.zeros(()), jnp.zeros(())])


def test_statistics_are_taken_by_name_and_states_as_they_are(model, later):
    weights, named = models.equinox(later[0], "squared", state=later[1]).params.values()
    flat = dict(sorted(named.items()))
    nested: dict = {}
    for name, array in flat.items():
        *parents, last = name.split("/")
        inner = nested
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = array
    for statistics in (flat, nested, later[1], list(named.values())):
        losses = model({"params": weights, "batch_stats": statistics}, (X, Y))
        np.testing.assert_allclose(losses, losses_of(*later), rtol=2e-5)
    flat["u"] = flat.pop("spectral/uv_index/0")
    with pytest.raises(InputError, match=r"missing \['spectral/uv_index/0'\], unknown \['u'\]"):
        model({"params": weights, "batch_stats": flat}, (X, Y))


def test_a_state_among_the_weights_is_refused(model, later):
    with pytest.raises(InputError, match=r"hold a State among the arrays that move: take model\.params"):
        lltc.local_posterior(model, eqx.filter(later, eqx.is_inexact_array), (X, Y))


def test_what_a_module_keeps_of_its_first_state_is_no_weight():
    old = Network(jax.random.key(0))
    model = models.equinox(old, "squared", state=eqx.nn.State(old))
    assert len(jax.tree.leaves(model.params["params"])) == 8
    np.testing.assert_allclose(model(old, (X, Y)), losses_of(old, eqx.nn.State(old)), rtol=2e-5)


def test_a_module_and_a_state_that_do_not_belong_together_are_refused(later):
    network, state = later
    with pytest.raises(InputError, match=r"keeps a state \('spectral/uv_index'\) and state is None"):
        models.equinox(network, "squared")
    with pytest.raises(InputError, match=r"state is a dict and must be an equinox\.nn\.State"):
        models.equinox(network, "squared", state={})
    foreign = eqx.nn.make_with_state(eqx.nn.BatchNorm)(4, "batch", mode="ema")[1]
    with pytest.raises(InputError, match=r"holds nothing for 'spectral/uv_index' of the module"):
        models.equinox(network, "squared", state=foreign)
    spent = jax.tree.map(jnp.copy, state)
    keeper = network.norms[1].batch_counter
    spent.set(keeper, spent.get(keeper))
    with pytest.raises(InputError, match="used up by a call that returned a newer one"):
        models.equinox(network, "squared", state=spent)
