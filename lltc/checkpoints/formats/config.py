"""The config.json that Hugging Face's libraries lay beside a model's weights."""

from pathlib import Path

from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.documents import read_json
from lltc.checkpoints.intake.files import is_file, reading

NAME = "config.json"
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_PARTS = ("text_config", "vision_config")


def read_num_heads(path: Path) -> int | None:
    """Return the number of attention heads stated in the folder `path` or beside the file; None without."""
    folders = [path, path.parent] if path.is_dir() else [path.parent]
    config = next((folder / NAME for folder in folders if is_file(folder / NAME)), None)
    if config is None:
        return None
    with reading(config):
        settings = read_json(config, Budget(config, 0))
        for part in (settings, *(settings.get(name) or {} for name in _PARTS)):
            for name in _HEADS:
                if isinstance(number := part.get(name), int):
                    return number
    return None
