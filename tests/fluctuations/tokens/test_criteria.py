"""Criteria of likelihoods are worked out of nothing else."""

import json
import shutil
from typing import Any

import h5py
import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc import InputError
from tests.fluctuations.tokens.gaussian import SIZE, likelihood, model, read

FEW: dict[str, Any] = {"num_draws": 128, "num_warmup": 16, "components": None}


def test_criteria_of_likelihoods_are_not_those_of_behavioral_losses(tmp_path):
    x = np.random.default_rng(0).normal(size=(SIZE, 3)).astype(np.float32)
    behavioral = lltc.behavioral(lambda w, batch: batch @ w, "squared")
    options = {"num_draws": 256, "num_warmup": 64, "localization": 1.0, "progress": False}
    record = lltc.read(behavioral, np.ones(3, np.float32), x, store=tmp_path, **options)
    for criterion in (record.waic, record.wbic):
        with pytest.raises(InputError, match="losses of a behavioral model"):
            criterion()
    assert np.isfinite(record.loss_gain().value).all()


def test_criteria_of_likelihoods_are_not_those_of_means_over_tokens(tmp_path):
    whole = read(tmp_path / "whole", **FEW).path.parent
    with h5py.File(shutil.copytree(whole, tmp_path / "old") / "losses.h5", "r+") as file:
        header = json.loads(str(file.attrs["header"]))
        file.attrs["header"] = json.dumps({key: header[key] for key in header if key != "averaged"})
    kept = [lltc.LossRecord.load(folder) for folder in (whole, tmp_path / "old")]
    for record in (*kept, read(tmp_path / "examples", tokens=False, **FEW)):
        for criterion in (record.waic, record.wbic):
            with pytest.raises(InputError, match="the mean over its tokens"):
                criterion()
    first = lambda w, batch: (model(w, batch)[0], batch[2] & (jnp.arange(batch[2].shape[1]) == 0))
    assert np.isfinite(read(tmp_path / "first", model=first, **FEW).waic().value)


def test_criteria_of_the_posterior_are_not_those_of_draws_without_the_slope(tmp_path):
    record = read(tmp_path / "examples", model=likelihood, linear=False, **FEW)
    for criterion in (record.waic, record.wbic):
        with pytest.raises(InputError, match=r"made with linear=False.*read again with linear=True"):
            criterion()
    tokens = read(tmp_path / "tokens", linear=False, num_draws=128, num_warmup=16)
    with pytest.raises(InputError, match="target holds llc, but these draws were made with linear=False"):
        tokens.susceptibilities().patterning({"llc": 1.0})
