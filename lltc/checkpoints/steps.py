"""Training steps: read from the names people give checkpoints, and spaced for saving new ones."""

import re

from lltc.errors import InputError

_SUFFIX = re.compile(r"\.(npz|safetensors|msgpack|eqx|pt|pth|bin|ckpt)$", re.IGNORECASE)
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_GAP = r"[^a-z0-9]{0,2}"
# Most telling first: 'epoch=3-step=1200' is step 1200, 'ckpt-1000-loss=0.52' is step 1000.
_NAMED = tuple(
    re.compile(rf"(?:{word}){_GAP}(\d+)([km]?)(?![a-z0-9])", re.IGNORECASE)
    for word in ("steps?|iters?|iterations?|updates?", "checkpoints?|ckpts?|chkpts?", "epochs?")
)
_BARE = re.compile(r"(?<!\d)(?<!\d\.)(\d+)(?!\d|\.\d)")
_THOUSANDS = {"": 1, "k": 1_000, "m": 1_000_000}


def parse_step(name: str) -> int | None:
    """Return the training step a file or folder name carries, or None where it carries none.

    The number behind the word step (or iter, update), else behind checkpoint or ckpt, else behind
    epoch, else the last whole number of the name. A `k` or `M` behind a named number multiplies it.

    Example:
        >>> parse_step("epoch=3-step=1200"), parse_step("model.step1000.safetensors"), parse_step("best")
        (1200, 1000, None)
    """
    stem = _SHARD.sub("", _SUFFIX.sub("", name))
    for pattern in _NAMED:
        if matches := pattern.findall(stem):
            digits, unit = matches[-1]
            return int(digits) * _THOUSANDS[unit.lower()]
    numbers = _BARE.findall(stem)
    return int(numbers[-1]) if numbers else None


def log_spaced_steps(num_steps: int, num_checkpoints: int) -> tuple[int, ...]:
    """Return `num_checkpoints` increasing steps from 0 to `num_steps`, evenly spaced in log(step).

    Where the even spacing falls below one step it is rounded up to one, and what is left of the range
    is divided anew, so the count is exact and both ends are kept. One checkpoint is the last step alone.

    Raises:
        InputError: `num_checkpoints` is below 1 or above `num_steps + 1`.

    Example:
        >>> log_spaced_steps(1000, 6)
        (0, 1, 6, 33, 182, 1000)
    """
    if not 1 <= num_checkpoints <= num_steps + 1:
        raise InputError(
            f"num_checkpoints is {num_checkpoints}, but {num_steps} steps have room for 1 to {num_steps + 1} "
            "checkpoints; lower num_checkpoints or train for more steps."
        )
    if num_checkpoints == 1:
        return (num_steps,)
    steps = [0]
    for left in range(num_checkpoints - 1, 0, -1):
        steps.append(_next_step(steps[-1], num_steps, left))
    return tuple(steps)


def _next_step(last: int, num_steps: int, left: int) -> int:
    if left == 1:
        return num_steps
    if last == 0:
        return 1
    even = round(last * (num_steps / last) ** (1 / left))
    return min(max(even, last + 1), num_steps - left + 1)
