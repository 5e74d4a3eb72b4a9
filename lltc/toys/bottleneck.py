"""A training run with a known staircase: a bottleneck linear network learns one singular value at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.toys.networks import network_loss, network_outputs
from lltc.toys.values.gibbs import Reference, gibbs_llc
from lltc.toys.values.linear_forms import deep_linear_llc

_LEARNT = 0.9  # share of its teacher value at which a mode counts as learnt
_UNSEEN = 0.1  # value of t s² up to which a mode counts as absent from the posterior


class KnownPlateau(NamedTuple):
    """A flat stretch: first and last step, modes learnt, exact λ̂ and its error, asymptotic λ.

    Example:
        >>> KnownPlateau(0, 150, rank=0, llc=6.22, llc_se=0.0, llc_limit=6.5).rank
        0
    """

    step_low: int
    step_high: int
    rank: int
    llc: float
    llc_se: float
    llc_limit: float


class KnownTransition(NamedTuple):
    """A true rise: end of one plateau, start of the next, the step where exact λ̂ is halfway, the rise.

    Example:
        >>> KnownTransition(160, 200, step=171, delta_llc=1.63).step
        171
    """

    step_low: int
    step_high: int
    step: int
    delta_llc: float


@dataclass(frozen=True, eq=False)
class BottleneckRun:
    """What `train_bottleneck` made: the checkpoints, the data and the truth about the learning coefficient.

    The truth is that of the behavioral loss `½‖f_w(x) - f_{w*}(x)‖²`, `w*` the checkpoint itself, at this
    `nbeta` and `localization`; `plateaus` and `transitions` come from exact Gibbs sampling when first read.

    Attributes:
        path: folder with one Orbax checkpoint a step: `{"layer1": {"kernel": …}, "layer2": {"kernel": …}}`.
        steps: the steps saved.
        params: the parameters saved, in the same order.
        data: `{"x": √d₀ eᵢ, "y": the teacher's outputs}`.
        singular_values: of the network's map after every step, (num_steps + 1, hidden).
        losses: `½‖W - W*‖²` at the steps saved.
        teacher: singular values of `W*`.
        nbeta: t of the truth.
        localization: γ of the truth.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = train_bottleneck(folder, num_steps=150, num_checkpoints=2)
        >>> run.plateaus[0].llc_limit
        6.5
    """

    path: Path
    steps: tuple[int, ...]
    params: tuple[Any, ...]
    data: dict[str, jax.Array]
    singular_values: np.ndarray
    losses: tuple[float, ...]
    teacher: tuple[float, ...]
    nbeta: float
    localization: float
    _history: Any

    @property
    def model(self) -> Callable[[Any, Any], jax.Array]:
        """`model(params, batch) -> ½‖f(x) - y‖²`, (batch,): the loss trained on."""
        return network_loss

    @property
    def apply(self) -> Callable[[Any, jax.Array], jax.Array]:
        """`apply(params, inputs) -> f(x)`, the network's outputs."""
        return network_outputs

    def exact_llc(self, step: int, **gibbs_settings: Any) -> Reference:
        """Return the exact λ̂ of the behavioral loss after this training step, saved or not, by `gibbs_llc`.

        Raises:
            InputError: a step outside the run.
        """
        if not 0 <= step < len(self.singular_values):
            raise InputError(f"step={step} is outside the run; give 0 to {len(self.singular_values) - 1}.")
        kernels = [
            np.asarray(self._history[name]["kernel"][step], dtype=float) for name in ("layer1", "layer2")
        ]
        return gibbs_llc(
            kernels,
            input_moment=np.eye(len(kernels[0])),
            cross_moment=kernels[0] @ kernels[1],
            nbeta=self.nbeta,
            localization=self.localization,
            **gibbs_settings,
        )

    @cached_property
    def plateaus(self) -> tuple[KnownPlateau, ...]:
        """The stretches where r modes are learnt (s ≥ 0.9 of the teacher's), no other shows (t s² ≤ 0.1)."""
        crossings = []
        widths = (len(self.data["x"]), self.singular_values.shape[1], self.data["y"].shape[1])
        for rank in range(len(self.teacher) + 1):
            inside = np.flatnonzero(self._learnt[:, :rank].all(1) & ~self._seen[:, rank:].any(1))
            if len(inside):
                value = self.exact_llc(int(inside[len(inside) // 2]))
                limit = deep_linear_llc(widths, rank=rank).llc
                crossings.append(KnownPlateau(int(inside[0]), int(inside[-1]), rank, *value, llc_limit=limit))
        return tuple(crossings)

    @cached_property
    def transitions(self) -> tuple[KnownTransition, ...]:
        """The rises between neighbouring plateaus; `step` comes from a bisection with fixed draws."""
        return tuple(self._rise(before, after) for before, after in pairwise(self.plateaus))

    def _rise(self, before: KnownPlateau, after: KnownPlateau) -> KnownTransition:
        low, high = before.step_high, after.step_low
        while high - low > 1:
            middle = (low + high) // 2
            below = self.exact_llc(middle, num_sweeps=400, num_warmup=200).llc < (before.llc + after.llc) / 2
            low, high = (middle, high) if below else (low, middle)
        return KnownTransition(before.step_high, after.step_low, high, after.llc - before.llc)

    @property
    def _learnt(self) -> np.ndarray:
        return self.singular_values[:, : len(self.teacher)] >= _LEARNT * np.array(self.teacher)

    @property
    def _seen(self) -> np.ndarray:
        return self.nbeta * self.singular_values**2 > _UNSEEN


def train_bottleneck(
    out: str | Path,
    *,
    widths: Sequence[int] = (5, 3, 5),
    singular_values: Sequence[float] = (4.0, 1.2, 0.35),
    init_scale: float = 1e-6,
    learning_rate: float = 0.02,
    num_steps: int = 3000,
    num_checkpoints: int = 48,
    nbeta: float = 1e3,
    localization: float = 1.0,
    key: int = 0,
) -> BottleneckRun:
    """Train a two-layer linear network from a tiny start by gradient descent; save Orbax checkpoints.

    The loss is `½‖W - W*‖²`, `W* = diag(singular_values)`. Saved steps grow like `num_steps (k/last)²`, which
    puts several on every plateau of the default run.

    Args:
        out: a folder, new or empty.
        widths: input, hidden, output.
        singular_values: of the teacher, decreasing, at most as many as the smallest width.
        init_scale: standard deviation of the first weights.
        learning_rate: of plain gradient descent.
        num_steps: training steps.
        num_checkpoints: checkpoints saved, steps 0 and `num_steps` included.
        nbeta: t at which the run's truth is stated.
        localization: γ at which the run's truth is stated.
        key: seed of the first weights.

    Raises:
        InputError: `out` not empty; widths other than three; singular values that do not fit; too many
            checkpoints; orbax-checkpoint missing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = train_bottleneck(folder, num_steps=200, num_checkpoints=3)
        >>> run.steps
        (0, 50, 200)
    """
    out = Path(out).resolve()
    _check(out, widths, singular_values, num_steps, num_checkpoints)
    teacher = np.zeros((widths[0], widths[2]), dtype=np.float32)
    np.fill_diagonal(teacher, [*singular_values, *np.zeros(min(teacher.shape) - len(singular_values))])
    x = np.sqrt(widths[0]) * np.eye(widths[0], dtype=np.float32)
    data = {"x": jnp.asarray(x), "y": jnp.asarray(x @ teacher)}
    keys = jax.random.split(jax.random.key(key), 2)
    start = {
        f"layer{i + 1}": {"kernel": init_scale * jax.random.normal(keys[i], (widths[i], widths[i + 1]))}
        for i in range(2)
    }
    history = _descend(start, data, learning_rate, num_steps)
    spread = np.linspace(0, 1, num_checkpoints) ** 2
    steps = tuple(int(step) for step in np.unique(np.round(num_steps * spread).astype(int)))
    params = tuple(jax.tree.map(lambda leaf, step=step: jnp.asarray(leaf[step]), history) for step in steps)
    _save(out, steps, params)
    maps = history["layer1"]["kernel"].astype(float) @ history["layer2"]["kernel"].astype(float)
    return BottleneckRun(
        path=out,
        steps=steps,
        params=params,
        data=data,
        singular_values=np.linalg.svd(maps, compute_uv=False)[:, : widths[1]],
        losses=tuple(float(np.sum((maps[step] - teacher) ** 2) / 2) for step in steps),
        teacher=tuple(float(s) for s in singular_values),
        nbeta=nbeta,
        localization=localization,
        _history=history,
    )


def _descend(start: Any, data: Any, learning_rate: float, num_steps: int) -> Any:
    """Return the parameters after 0, 1, … `num_steps` steps, stacked along the leading axis."""

    def step(params: Any, _: None) -> tuple[Any, Any]:
        gradient = jax.grad(lambda w: jnp.mean(network_loss(w, data)))(params)
        return jax.tree.map(lambda w, g: w - learning_rate * g, params, gradient), params

    history = jax.jit(lambda params: jax.lax.scan(step, params, None, length=num_steps + 1)[1])(start)
    return jax.tree.map(np.asarray, history)


def _save(out: Path, steps: Sequence[int], params: Sequence[Any]) -> None:
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise InputError("orbax-checkpoint is not installed; run `pip install orbax-checkpoint`.") from error
    options = ocp.CheckpointManagerOptions(create=True, enable_async_checkpointing=False)
    with ocp.CheckpointManager(out, options=options) as manager:
        for step, tree in zip(steps, params, strict=True):
            manager.save(step, args=ocp.args.StandardSave(tree))


def _check(out: Path, widths, singular_values, num_steps: int, num_checkpoints: int) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"out={str(out)!r} already holds something; give a new or empty folder.")
    if len(widths) != 3 or min(widths) < 1:
        raise InputError(f"widths={list(widths)} must be three widths >= 1: input, hidden, output.")
    values = np.asarray(singular_values, dtype=float)
    if not 1 <= len(values) <= min(widths) or np.any(values <= 0) or np.any(np.diff(values) >= 0):
        raise InputError(
            f"singular_values={list(singular_values)} must be 1 to {min(widths)} positive, falling numbers."
        )
    if not 2 <= num_checkpoints <= num_steps + 1:
        raise InputError(
            f"num_checkpoints={num_checkpoints} must lie in 2 … num_steps + 1 = {num_steps + 1}."
        )
