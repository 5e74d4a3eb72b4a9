"""The PyTorch modules that both packages are given, and the data they are trained on.

All are kept in evaluation mode: devinterp samples in training mode, where dropout and batch statistics would
count as a distance from the checkpoint.
"""

import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

LETTERS, LENGTH, ROWS, CLASSES = 40, 17, 4096, 10
LANGUAGE, IMAGES = ("char-level GPT", "GPT-NeoX"), ("MLP", "ResNet")


class Evaluated(nn.Module):
    """A module that no call puts into training mode."""

    def train(self, mode: bool = True) -> "Evaluated":
        """Stay in evaluation mode."""
        del mode
        return super().train(False)


class MLP(Evaluated):
    """Two hidden layers of 32 on 64 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, CLASSES)
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the logits of each image."""
        return self.layers(pixels)


class ResNet(Evaluated):
    """A stem and two residual blocks, all with batch norm."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False)
        self.convolutions = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(4))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(5))
        self.head = nn.Linear(width, CLASSES)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the logits of each image."""
        x = functional.relu(self.norms[0](self.stem(pixels)))
        for at in (0, 2):
            inner = functional.relu(self.norms[at + 1](self.convolutions[at](x)))
            x = functional.relu(x + self.norms[at + 2](self.convolutions[at + 1](inner)))
            x = functional.max_pool2d(x, 2)
        return self.head(x.mean((2, 3)))


class Letters(Evaluated):
    """A causal language model, its logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits of each next token."""
        return self.network(tokens)["logits"]


def make_module(name: str) -> nn.Module:
    """Return a module with its first weights, the same every time."""
    torch.manual_seed(0)
    if name in IMAGES:
        return {"MLP": MLP, "ResNet": ResNet}[name]().eval()
    if name == "GPT-NeoX":
        from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

        config = GPTNeoXConfig(
            vocab_size=LETTERS,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=LENGTH,
            use_cache=False,
        )
        return Letters(GPTNeoXForCausalLM(config)).eval()
    from modules import GPT

    return Letters(GPT(vocab=LETTERS, width=16, heads=2, layers=2, length=LENGTH - 1)).eval()


def make_data(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what a module reads and what it is to answer: images and classes, or tokens and the next."""
    if name in LANGUAGE:
        tokens = read_tokens()
        return tokens[:, :-1], tokens[:, 1:]
    rng = np.random.default_rng(0)
    patterns, labels = rng.standard_normal((CLASSES, 1, 8, 8)), rng.integers(0, CLASSES, ROWS)
    images = patterns[labels] + 4 * rng.standard_normal((ROWS, 1, 8, 8))
    return images.astype(np.float32), labels


def read_tokens() -> np.ndarray:
    """Return rows of tokens `(row, 17)` of Python's own library: common characters by number, others 0."""
    text = ""
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        text += path.read_text(errors="ignore")
        if len(text) > ROWS * LENGTH:
            break
    text = text[: ROWS * LENGTH]
    common = sorted(sorted(set(text)), key=text.count)[:-LETTERS:-1]
    number = {letter: at + 1 for at, letter in enumerate(common)}
    return np.array([number.get(letter, 0) for letter in text], np.int32).reshape(ROWS, LENGTH)


def train(module: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, num_steps: int) -> float:
    """Train by AdamW on cross entropy, in place, and return the last loss."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    loss: Any = torch.zeros(())
    for _ in range(num_steps):
        rows = torch.randint(len(inputs), (64,))
        loss = functional.cross_entropy(module(inputs[rows]).flatten(0, -2), targets[rows].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()
