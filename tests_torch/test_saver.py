"""TorchSaver in a plain loop, in Lightning and in the Trainer: the same files, whole and in order."""

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import Trainer, TrainingArguments

from lltc.checkpoints import TorchSaver, find_checkpoints

STEPS = (0, 1, 3, 6)
X = torch.randn(24, 3, generator=torch.Generator().manual_seed(0))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU())
        self.head = nn.Linear(4, 1)

    def forward(self, x):
        outputs = self.head(self.body(x))
        return {"loss": (outputs**2).mean(), "outputs": outputs}


class Lit(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = Network()

    def training_step(self, batch, _):
        return self.model(batch)["loss"]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def trained(saver):
    """Train in a plain loop on batches of 4 in order; save after every step."""
    network = Network()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    saver(0, network)
    for step, batch in enumerate(X.split(4), start=1):
        optimizer.zero_grad()
        network(batch)["loss"].backward()
        optimizer.step()
        saver(step, network)
    return network


def weights(folder):
    return {checkpoint.step: checkpoint.load() for checkpoint in find_checkpoints(folder)}


def test_a_plain_loop_saves_what_the_module_was(tmp_path):
    network = trained(TorchSaver(tmp_path, STEPS))
    saved = weights(tmp_path)
    assert tuple(saved) == STEPS
    for name, tensor in network.state_dict().items():
        array = saved[6]
        for part in name.split("."):
            array = array[part]
        np.testing.assert_array_equal(array, tensor.numpy())
    again = Network()
    again.load_state_dict(load_file(tmp_path / "step_6.safetensors"))
    assert all(torch.equal(again.state_dict()[name], value) for name, value in network.state_dict().items())
    assert not np.array_equal(saved[0]["head"]["weight"], saved[1]["head"]["weight"])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_lightning_saves_the_same_steps(tmp_path, accumulate):
    trained(TorchSaver(tmp_path / "plain", STEPS))
    saver = TorchSaver(tmp_path / "lit", STEPS)
    trainer = pl.Trainer(
        callbacks=[saver.lightning()],
        max_epochs=accumulate,
        accumulate_grad_batches=accumulate,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(Lit(), torch.utils.data.DataLoader(X, batch_size=4))
    saved = weights(tmp_path / "lit")
    assert tuple(saved) == STEPS
    # Of the batches that make a step none but the last is saved at.
    counts = [int(saved[step]["model"]["body"]["1"]["num_batches_tracked"]) for step in STEPS]
    assert counts == [accumulate * step for step in STEPS]
    if accumulate == 1:
        for step, params in weights(tmp_path / "plain").items():
            np.testing.assert_allclose(
                saved[step]["model"]["head"]["weight"], params["head"]["weight"], rtol=1e-6
            )


def test_the_trainer_saves_the_same_steps(tmp_path):
    trained(TorchSaver(tmp_path / "plain", STEPS))
    saver = TorchSaver(tmp_path / "hf", STEPS)
    rows = [{"x": row} for row in X]
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "out"),
        per_device_train_batch_size=4,
        max_steps=6,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    Trainer(Network(), arguments, train_dataset=rows, callbacks=[saver.trainer()]).train()
    saved = weights(tmp_path / "hf")
    assert tuple(saved) == STEPS
    first = weights(tmp_path / "plain")[0]
    np.testing.assert_array_equal(saved[0]["head"]["weight"], first["head"]["weight"])
    assert not np.array_equal(saved[6]["head"]["weight"], saved[3]["head"]["weight"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.float8_e5m2])
def test_every_type_survives(tmp_path, dtype):
    state = {"w": torch.tensor([1.0, -0.375, 3.0]).to(dtype), "n": torch.tensor(3)}
    path = TorchSaver(tmp_path, [5])(5, state)
    back = load_file(path)
    assert back["w"].dtype == dtype
    assert torch.equal(back["w"].float(), state["w"].float())
    [checkpoint] = find_checkpoints(tmp_path)
    np.testing.assert_array_equal(checkpoint.load()["w"].astype(np.float32), state["w"].float().numpy())


def test_wrappers_leave_no_trace_in_the_names(tmp_path):
    network = Network()
    saver = TorchSaver(tmp_path, [0, 1, 2])
    wrapped = torch.compile(network)
    whole, parallel = saver(0, wrapped), saver(1, nn.DataParallel(network))
    inner = Network()
    inner.body = torch.compile(inner.body)
    assert set(load_file(whole)) == set(load_file(parallel)) == set(network.state_dict())
    assert set(load_file(saver(2, inner))) == set(network.state_dict())


def test_views_and_tied_weights_are_saved_whole(tmp_path):
    network = nn.ModuleDict({"embed": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False)})
    network["head"].weight = network["embed"].weight
    back = load_file(TorchSaver(tmp_path, [0])(0, network))
    assert torch.equal(back["embed.weight"], network["embed"].weight)
    assert torch.equal(back["head.weight"], network["embed"].weight)
    turned = torch.arange(6.0).reshape(2, 3).T
    assert torch.equal(load_file(TorchSaver(tmp_path, [1])(1, {"w": turned}))["w"], turned)
