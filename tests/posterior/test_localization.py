"""The default of the prior's strength: d/(½‖w*‖)² whatever the weights' size, or one sentence."""

import jax.numpy as jnp
import numpy as np
import pytest

from lltc import InputError, local_posterior


def gamma(params):
    loss = lambda p, batch: jnp.zeros(len(batch)) + sum(jnp.sum(0 * leaf) for leaf in p.values())
    return local_posterior(loss, params, jnp.zeros(9)).localization


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e9])
def test_it_is_the_number_of_parameters_over_a_quarter_of_the_square(scale):
    weights = np.array([3.0, -4.0, 0.0], np.float32)
    assert gamma({"w": scale * weights}) == pytest.approx(3 / (2.5 * scale) ** 2, rel=1e-5)


def test_without_weights_it_is_one():
    assert gamma({"w": np.zeros(3, np.float32)}) == 1


@pytest.mark.parametrize("value", [-3e38, 1e-20])
def test_what_leaves_no_prior_is_refused(value):
    with pytest.raises(InputError, match=r"localization is not given, and its default .*with restrict"):
        gamma({"w": np.zeros(3, np.float32), "mask": np.array([value], np.float32)})
