"""The number of heads that the config.json beside a checkpoint states."""

import json

import numpy as np
import pytest

from lltc.checkpoints import open_checkpoint, save_safetensors
from lltc.errors import CheckpointError


@pytest.mark.parametrize("place", ["run/checkpoint-5/config.json", "run/config.json"])
@pytest.mark.parametrize(
    "config", [{"num_attention_heads": 4}, {"n_head": 4}, {"text_config": {"num_attention_heads": 4}}]
)
def test_it_lies_with_the_checkpoint_or_around_it(tmp_path, place, config):
    path = save_safetensors(tmp_path / "run" / "checkpoint-5" / "model.safetensors", {"w": np.ones(2)})
    assert open_checkpoint(path.parent).num_heads() is None
    (tmp_path / place).write_text(json.dumps(config | {"n_layer": 3}))
    assert open_checkpoint(path.parent).num_heads() == 4
    (tmp_path / place).write_text("{}")
    assert open_checkpoint(path.parent).num_heads() is None


def test_it_lies_beside_a_checkpoint_that_is_a_file(tmp_path):
    path = save_safetensors(tmp_path / "step_5.safetensors", {"w": np.ones(2)})
    (tmp_path / "config.json").write_text('{"n_heads": 2}')
    assert open_checkpoint(path).num_heads() == 2


@pytest.mark.parametrize("text", ["", "[]", '{"text_config": 3}'])
def test_a_damaged_config_is_told(tmp_path, text):
    path = save_safetensors(tmp_path / "step_5.safetensors", {"w": np.ones(2)})
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"^Cannot read checkpoint '.*config\.json', it may be"):
        open_checkpoint(path).num_heads()
