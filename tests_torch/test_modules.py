"""Networks as they are, evaluated by JAX, against PyTorch; and what is refused, by the line."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from modules import GPT, MODULES, float_rows, make, tokens
from references import reference
from torch import nn
from torch.utils.checkpoint import checkpoint

from lltc import models
from lltc.errors import InputError
from lltc.export.__main__ import main, write_program
from lltc.export.program import export_program

STORED = Path(__file__).parent.parent / "tests" / "models" / "exported"


def as_batch(args, kwargs):
    """Return inputs as a batch: a dict by name, or a tuple."""
    return {name: value.numpy() for name, value in kwargs.items()} or tuple(value.numpy() for value in args)


def bridged(module, pick=None, **options):
    """Return the model of a module whose loss is its outputs."""
    return models.torch(module, lambda outputs, _: outputs, outputs=pick, **options)


@pytest.mark.parametrize("name", MODULES)
def test_a_live_module_a_file_of_it_and_the_stored_file_agree(name, tmp_path):
    module, args, kwargs, pick = make(name)
    batch = as_batch(args, kwargs)
    inputs = None if kwargs else lambda batch: batch
    live = bridged(module, inputs=inputs)
    outputs = jax.jit(live.apply)(live.params, batch)
    two = lambda value: value[:2]
    program = export_program(
        module, tuple(map(two, args)), {key: two(value) for key, value in kwargs.items()}, free_rows=True
    )
    write_program(program, str(tmp_path / "again.pt2"))
    loss = lambda outputs, _: outputs
    for path in (tmp_path / "again.pt2", STORED / f"{name}.pt2"):
        filed = models.torch_exported(path, loss, inputs=inputs)
        assert jax.tree.structure(filed.params) == jax.tree.structure(live.params)
        np.testing.assert_array_equal(jax.jit(filed.apply)(filed.params, batch), outputs)
    with np.load(STORED / f"{name}.npz") as stored:
        for key, value in reference(module, args, kwargs, pick).items():
            np.testing.assert_allclose(stored[key], value, rtol=1e-5, atol=1e-6, err_msg=key)
        assert np.abs(outputs - stored["y"]).max() < 2e-6 * np.abs(stored["y"]).max()


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        y = self.layer(x)
        return y * 2 if y.sum() > 0 else y


class Masking(Branching):
    def forward(self, x):
        y = self.layer(x)
        return y + y[y > 0].sum()


class Counting(Branching):
    def forward(self, x):
        return self.layer(x) * int((x > 0).sum())


class Noisy(Branching):
    def forward(self, x):
        return self.layer(x) + torch.randn_like(x)


class Dropping(Branching):
    def forward(self, x):
        return F.dropout(self.layer(x), 0.5)


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x.round()

    @staticmethod
    def backward(_, gradient):
        return gradient


class Custom(Branching):
    def forward(self, x):
        return Straight.apply(self.layer(x))


class Batched(Branching):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4, track_running_stats=False)

    def forward(self, x):
        return self.norm(self.layer(x))


class Exotic(Branching):
    def forward(self, x):
        return torch.linalg.svdvals(self.layer(x)).sum() * x


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (
            Branching,
            r"decides by its data at line \d+ of test_modules.py \(return y \* 2 if y.sum\(\) > 0 else y\)",
        ),
        (Masking, r"at line \d+ of test_modules.py \(return y \+ y\[y > 0\].sum\(\)\).*a boolean mask"),
        (Counting, r"(sizes or Python numbers of|decides by) its data at line \d+ of test_modules.py"),
        (
            Noisy,
            r"draws random numbers at line \d+ of test_modules.py \(return self.layer\(x\) \+ torch.randn",
        ),
        (Dropping, r"at line \d+ of test_modules.py .*dropout is on whatever the module's mode"),
        (Custom, r"defines its own derivative, Straight, at line \d+ of test_modules.py"),
        (Batched, r"at line \d+ of test_modules.py .*takes its statistics from the batch"),
        (Exotic, r"uses aten\..* at line \d+ of test_modules.py .*docs/torch.md"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_by_its_line(build, match):
    model = bridged(build().eval())
    with pytest.raises(InputError, match=match) as caught:
        model.apply(model.params, float_rows(4).numpy())
    assert len(str(caught.value).splitlines()) == 1
    assert torch.autograd.Function.apply.__qualname__ != "_no_custom_derivatives.<locals>.apply"


def test_wrappers_are_taken_off_and_the_module_is_left_as_it_was():
    module = GPT()
    ids = tokens(17, 8)
    expected = module.eval()(ids)["logits"].detach().numpy()
    module.train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.warns(
        UserWarning, match=r"in training mode; .* in which its Dropout \(dropout\) does otherwise"
    ):
        plain = models.torch(module, "causal_lm")
    assert module.training
    assert module.dropout.training
    module.eval()
    for wrapped in (
        module,
        torch.compile(module),
        nn.DataParallel(module),
        torch.compile(nn.DataParallel(module)),
    ):
        model = models.torch(wrapped, "causal_lm")
        assert jax.tree.structure(model.params) == jax.tree.structure(plain.params)
        np.testing.assert_allclose(model.apply(model.params, ids.numpy()), expected, rtol=1e-5, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(part.requires_grad for part in module.parameters())


def test_tied_parameters_are_one_by_memory():
    module = nn.ModuleDict({name: nn.Linear(4, 4) for name in "abc"})
    module["b"].weight = module["a"].weight
    module["c"].weight = nn.Parameter(module["a"].weight.detach())
    module.forward = lambda x: module["c"](module["b"](module["a"](x)))
    model = bridged(module.eval())
    assert model.params.tied == {"b/weight": "a/weight", "c/weight": "a/weight"}
    with torch.no_grad():
        np.testing.assert_allclose(
            model.apply(model.params, float_rows(4).numpy()), module(float_rows(4)), atol=1e-6
        )


def test_params_do_not_share_memory_with_the_module():
    module = nn.Linear(4, 1).eval()
    model = bridged(module)
    x = float_rows(4).numpy()
    before = np.array(model.apply(model.params, x))
    with torch.no_grad():
        module.weight.add_(1)
    np.testing.assert_array_equal(model.apply(model.params, x), before)


def test_frozen_parameters_are_held_unless_all_are():
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1)).eval()
    module[0].requires_grad_(False)
    assert models.torch(module, "regression").params.held == {"0/weight", "0/bias"}
    with pytest.raises(InputError, match="every parameter of the module is frozen"):
        models.torch(module.requires_grad_(False), "regression")
    with pytest.raises(InputError, match="has no numbers yet"):
        models.torch(nn.LazyLinear(3), "regression")
    with pytest.raises(InputError, match=r"must be a torch.nn.Module and is a function"):
        models.torch(lambda x: x, "regression")


class Alone(nn.Module):
    """Does otherwise with one row, and with its rows in pairs."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        y = self.layer(x)
        if x.shape[0] == 1:
            return 10 * y
        return y.unflatten(0, (2, -1)).flatten(0, 1) if x.shape[0] % 2 == 0 else y


def test_batches_of_other_sizes_are_other_branches():
    module = Alone().eval()
    model, x = bridged(module), torch.cat([float_rows(4), float_rows(4)])
    for rows in (1, 2, 5, 8):
        with torch.no_grad():
            np.testing.assert_allclose(
                model.apply(model.params, x[:rows].numpy()), module(x[:rows]), atol=1e-5
            )


def test_a_module_keeps_its_types():
    module = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.GELU()).bfloat16().eval()
    model = bridged(module)
    x = float_rows(4)
    outputs = model.apply(model.params, x.numpy())
    assert outputs.dtype == jnp.bfloat16
    with torch.no_grad():
        np.testing.assert_allclose(outputs.astype(np.float32), module(x.bfloat16()).float(), atol=0.05)


class Scored(GPT):
    """Returns logits and its own loss, as small GPTs often do."""

    def forward(self, ids, targets=None):
        logits = super().forward(ids)["logits"]
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)


def test_a_modules_own_loss_is_taken_for_each_example():
    module = Scored().eval()
    ids, targets = tokens(17, 8), tokens(17, 8).roll(1, 1)
    model = models.torch(module, "own")
    with torch.no_grad():
        expected = [float(module(ids[at : at + 1], targets[at : at + 1])[1]) for at in range(5)]
    np.testing.assert_allclose(model(model.params, (ids.numpy(), targets.numpy())), expected, rtol=2e-6)
    with pytest.raises(InputError, match="no loss of its own"):
        model(model.params, (ids.numpy(),))


def test_checkpointed_activations_are_followed():
    layer = nn.Linear(4, 4)
    module = nn.Sequential(layer).eval()
    for reentrant in (False, True):
        module.forward = lambda x, reentrant=reentrant: checkpoint(layer, x, use_reentrant=reentrant)
        model = bridged(module)
        with torch.no_grad():
            np.testing.assert_allclose(
                model.apply(model.params, float_rows(4).numpy()), layer(float_rows(4)), atol=1e-6
            )


def test_the_command_writes_what_is_read(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["modules:GPT", "gpt.pt2", "--example", "int64:8"]) == 0
    assert capsys.readouterr().out == "wrote gpt.pt2\n"
    model = models.torch_exported("gpt.pt2", "causal_lm")
    assert model.apply(model.params, tokens(17, 8).numpy()).shape == (5, 8, 17)
    for name, example, said in [
        ("modules:Absent", "int64:8", "'modules:Absent' is not there"),
        ("modules:GPT", "int:x", "example 'int:x' is none"),
        ("modules:GPT", "float32:8", "torch.export does not take the module"),
    ]:
        assert main([name, "x.pt2", "--example", example]) == 2
        assert said in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpt.pt2"]
