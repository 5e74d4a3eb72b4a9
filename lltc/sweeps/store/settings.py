"""What defines a sweep's numbers, as `sweep.json` holds it."""

import json
import re
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from lltc.errors import printable
from lltc.posterior.fingerprint import fingerprint_settings

FORMAT = 1
LAST_STEP = (1 << 63) - 1
NUMBERED = re.compile(r".*\[\d+\]", re.DOTALL)
RESERVED = {
    *("step", "llc", "llc_se", "loss", "status", "reason", "ess", "rhat", "step_size", "hot_cold_gap"),
    *("seconds", "num_draws", "component", "component_llc", "component_llc_se", "component_status"),
    *("gradient_norm", "weight_norm"),
}
NUMBERS = ("options", "key", "model", "reading", "data", "num_examples", "jax", "versions", "along_chains")


@dataclass(frozen=True)
class SweepSettings:
    """Everything that defines the numbers of a sweep, and which checkpoints it has.

    `options` are those of `lltc.estimate_llc`, nβ and γ as they were fixed; `given` what of those two was
    asked for. `key` are the words of the JAX key; `model`, `data`, `observables`, `along_chains` and
    `components` are hashes of contents; `reading` says how checkpoints become params; `jax` and
    `versions` are where the numbers come from. `sub_losses` names the observables in nats. `checkpoints`
    are hashes by step, None where not known. `configuration` is a hash of all that defines the numbers.
    """

    options: dict[str, Any]
    given: dict[str, Any]
    key: list[Any]
    model: str
    data: str
    num_examples: int
    reading: dict[str, Any]
    jax: dict[str, Any]
    versions: dict[str, str]
    observables: dict[str, str]
    along_chains: dict[str, str] | None
    components: dict[str, str]
    sub_losses: list[str]
    configuration: str = ""
    checkpoints: dict[str, str | None] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def numbers(self) -> dict[str, Any]:
        """What defines the numbers of the whole network's estimates."""
        return {name: getattr(self, name) for name in NUMBERS}

    @property
    def posterior(self) -> tuple[float, float]:
        """nβ and γ of all checkpoints."""
        return self.options["nbeta"], self.options["localization"]

    def with_key(self, key: list[Any]) -> Self:
        """Return the settings with another key, which the configuration follows."""
        changed = replace(self, key=key)
        return replace(changed, configuration=fingerprint_settings(changed.numbers))

    def configuration_of(self, component: str | None = None) -> str:
        """Return the hash of all that defines the numbers of an estimate, besides the checkpoint itself."""
        if component is None:
            return self.configuration
        return fingerprint_settings(
            {"configuration": self.configuration, "component": self.components[component]}
        )

    def to_json(self) -> str:
        """Return the settings as text."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the settings a text was made from; raises `ValueError` with the reason where it is none."""
        content = read_object(text)
        version = content.get("format")
        if version != FORMAT:
            raise ValueError(f"its format is {printable(repr(version), 40)} where {FORMAT} is known")
        check_members(content, {item.name: KINDS[item.name] for item in fields(cls)})
        return cls(**{item.name: content[item.name] for item in fields(cls)})


def read_object(text: str | bytes) -> dict[str, Any]:
    """Return the object of a JSON text; raises `ValueError` where it is none."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {printable(str(error), 100)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__} where an object is needed")
    return content


def check_members(content: dict[str, Any], kinds: dict[str, Any]) -> None:
    """Raise `ValueError` where a member is missing or of another kind: a type, or a test of the value."""
    for name, kind in kinds.items():
        if name not in content:
            raise ValueError(f"it lacks {name}")
        value = content[name]
        if not (isinstance(value, kind) if isinstance(kind, type) else kind(value)):
            raise ValueError(f"its {name} is {printable(repr(value), 60)}")


def is_free_name(name: Any) -> bool:
    """True for a text that may name an observable: no variable of the curve is called so."""
    return isinstance(name, str) and name not in ("", *RESERVED) and not NUMBERED.fullmatch(name)


def _of_texts(value: Any) -> bool:
    """True for an object whose values are texts."""
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _of_hashes(value: Any) -> bool:
    """True for an object of hashes by step."""
    return isinstance(value, dict) and all(
        _is_step(name) and isinstance(text, str | None) for name, text in value.items()
    )


def _is_step(name: str) -> bool:
    """True for a step as it is written."""
    return name.isdecimal() and len(name) < 20 and name == str(int(name)) and int(name) <= LAST_STEP


def is_number(value: Any) -> bool:
    """True for a number as JSON has them."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _fixed(value: Any) -> bool:
    """True for options that fix the posterior and how many chains there are."""
    return isinstance(value, dict) and all(
        is_number(value.get(name)) for name in ("nbeta", "localization", "num_chains", "batch_size")
    )


KINDS: dict[str, Any] = {
    "options": _fixed,
    "given": lambda value: isinstance(value, dict) and {"nbeta", "localization"} <= value.keys(),
    "key": list,
    "model": str,
    "data": str,
    "num_examples": int,
    "reading": dict,
    "jax": dict,
    "versions": _of_texts,
    "observables": lambda value: _of_texts(value) and all(map(is_free_name, value)),
    "along_chains": lambda value: value is None or _of_texts(value),
    "components": _of_texts,
    "sub_losses": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "configuration": str,
    "checkpoints": _of_hashes,
    "format": int,
}
