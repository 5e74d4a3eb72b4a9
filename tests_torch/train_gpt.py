"""A torch user's day, first half: train a small GPT on text, in a loop of one's own and in the Trainer.

.ci/torch python tests_torch/train_gpt.py FOLDER

FOLDER/plain holds each step's state_dict as `.pt`, FOLDER/trainer what TorchSaver wrote of a GPT-2 in the
Trainer. FOLDER/gpt2 is that network as transformers saves it; its graph is remembered by lltc.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from families import GPT2, build
from modules import GPT
from transformers import Trainer, TrainingArguments

from lltc import models
from lltc.checkpoints import TorchSaver, log_spaced_steps

TEXT = Path(__file__).parent.parent / "README.md"
LETTERS, LENGTH, NUM_STEPS = 40, 16, 300
STEPS = log_spaced_steps(NUM_STEPS, 3)


def make_gpt():
    """Return the network, as `python -m lltc.export train_gpt:make_gpt` takes it."""
    torch.manual_seed(0)
    return GPT(vocab=LETTERS, width=16, layers=1, length=LENGTH).eval()


def as_tokens(text):
    """Return a text as rows of tokens: its most common letters by number, all others 0."""
    common = sorted(set(text), key=text.count)[:-LETTERS:-1]
    number = {letter: at + 1 for at, letter in enumerate(common)}
    tokens = np.array([number.get(letter, 0) for letter in text], np.int32)
    return tokens[: len(tokens) // LENGTH * LENGTH].reshape(-1, LENGTH)


def train_plainly(folder, rows):
    """Train in a loop, and save as most do."""
    module = make_gpt().train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
    folder.mkdir()
    for step in range(NUM_STEPS + 1):
        if step in STEPS:
            torch.save(module.state_dict(), folder / f"step_{step}.pt")
        batch = torch.tensor(rows[torch.randint(len(rows), (64,))], dtype=torch.long)
        loss = F.cross_entropy(module(batch)["logits"][:, :-1].flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"plain: loss {loss.item():.3f} after {NUM_STEPS} steps")


def train_by_trainer(folder, rows):
    """Train in Hugging Face's Trainer, and return the network."""
    module = build("GPT2", "CausalLM", GPT2 | {"n_layer": 1})
    arguments = TrainingArguments(
        output_dir=str(folder.with_name("unused")),
        max_steps=NUM_STEPS,
        per_device_train_batch_size=64,
        learning_rate=0.01,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    data = [
        {"input_ids": torch.tensor(row, dtype=torch.long), "labels": torch.tensor(row, dtype=torch.long)}
        for row in rows
    ]
    saver = TorchSaver(folder, STEPS)
    trained = Trainer(module, arguments, train_dataset=data, callbacks=[saver.trainer()]).train()
    print(f"trainer: mean loss {trained.training_loss:.3f} over {NUM_STEPS} steps")
    return module


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    rows = as_tokens(TEXT.read_text())
    np.save(folder / "tokens.npy", rows)
    train_plainly(folder / "plain", rows)
    train_by_trainer(folder / "trainer", rows).save_pretrained(folder / "gpt2")
    model = models.hugging_face(folder / "gpt2")
    for batch in (rows[:2], rows[:1]):
        model.apply(model.params, batch)
    print(f"{len(rows)} rows of text, {len(STEPS)} checkpoints each")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
