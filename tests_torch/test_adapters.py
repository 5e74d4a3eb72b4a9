"""Adapters merged here against PEFT's own merging, on tiny networks of two families."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from lltc.checkpoints import MergedInto, find_checkpoints


def gpt2():
    return GPT2LMHeadModel(GPT2Config(n_embd=12, n_layer=2, n_head=2, vocab_size=19, n_positions=8))


def llama():
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}
    return LlamaForCausalLM(LlamaConfig(vocab_size=19, num_key_value_heads=1, pad_token_id=0, **sizes))


CASES = {
    "GPT-2": (
        gpt2,
        {"target_modules": ["c_attn", "c_proj", "wte"], "lora_alpha": 7, "r": 3, "fan_in_fan_out": True},
    ),
    "Llama": (llama, {"target_modules": ["q_proj", "k_proj", "down_proj"], "use_rslora": True, "r": 4}),
    "patterns": (
        llama,
        {
            "target_modules": ["q_proj", "v_proj"],
            "rank_pattern": {"v_proj": 2},
            "alpha_pattern": {"v_proj": 5},
        },
    ),
    "whole modules": (llama, {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
}


@pytest.mark.parametrize("name", CASES)
def test_merged_weights_are_those_of_peft(name, tmp_path):
    make, settings = CASES[name]
    torch.manual_seed(0)
    base = make()
    base.save_pretrained(tmp_path / "base")
    model = get_peft_model(base, LoraConfig(**settings))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path / "run" / "checkpoint-5")
    model.merge_and_unload().save_pretrained(tmp_path / "merged")
    [checkpoint] = find_checkpoints(tmp_path / "run", loader=MergedInto(tmp_path / "base"))
    params = checkpoint.load()
    for key, tensor in load_file(tmp_path / "merged" / "model.safetensors").items():
        array = params
        for part in key.split("."):
            array = array[part]
        np.testing.assert_allclose(array, tensor.numpy(), rtol=1e-5, atol=1e-6, err_msg=key)
