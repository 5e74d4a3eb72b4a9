"""Real sweeps that hold no transition: one checkpoint again and again, and a run whose rank never changes."""

import numpy as np
import pytest

from benchmarks.controls import sweep_repeated, sweep_trained


def test_one_checkpoint_again_and_again_has_no_marker(tmp_path):
    swept = sweep_repeated(str(tmp_path), 24, num_draws=500, num_warmup=500)
    llc, se = swept.curve["llc"].to_numpy(), swept.curve["llc_se"].to_numpy()
    assert swept.transitions == ()
    assert llc.std() > 0
    # The exact value at nβ = 1000, γ = 1 is 10.50; 24 estimates, each with its own error.
    assert llc.mean() == pytest.approx(10.50, abs=4 * np.sqrt(np.sum(se**2)) / 24)


def test_a_training_run_of_constant_rank_has_no_staircase(tmp_path):
    swept = sweep_trained(str(tmp_path), 1000, 10, num_draws=500, num_warmup=500, num_chains=4)
    llc, se = swept.curve["llc"].to_numpy(), swept.curve["llc_se"].to_numpy()
    assert swept.curve["loss"].values[0] > 1e6 * swept.curve["loss"].values[-1]
    assert swept.transitions == ()
    # Every point of the run is regular in the 25 directions that move the map: λ is 12.5 throughout.
    assert np.all(np.abs(llc - 12.5) < 4 * se)
