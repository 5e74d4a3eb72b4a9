"""Small networks of our own that together use what networks are made of, and stand on what is hard."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class GPT(nn.Module):
    """Causal attention, pre-norm, embedding and head tied."""

    def __init__(self, vocab=17, width=16, heads=2, layers=2, length=8):
        super().__init__()
        self.heads = heads
        self.tokens = nn.Embedding(vocab, width)
        self.places = nn.Parameter(0.1 * torch.randn(length, width))
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2 * layers)])
        self.qkv = nn.ModuleList([nn.Linear(width, 3 * width) for _ in range(layers)])
        self.out = nn.ModuleList([nn.Linear(width, width) for _ in range(layers)])
        self.up = nn.ModuleList([nn.Linear(width, 2 * width) for _ in range(layers)])
        self.down = nn.ModuleList([nn.Linear(2 * width, width) for _ in range(layers)])
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(width, vocab, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids):
        x = self.dropout(self.tokens(ids) + self.places[: ids.shape[1]])
        for at, (qkv, out, up, down) in enumerate(zip(self.qkv, self.out, self.up, self.down, strict=True)):
            q, k, v = qkv(self.norms[2 * at](x)).chunk(3, -1)
            q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.dropout(out(y.transpose(1, 2).flatten(-2)))
            x = x + down(F.gelu(up(self.norms[2 * at + 1](x)), approximate="tanh"))
        return {"logits": self.head(x), "hidden": x}


class Masked(nn.Module):
    """A padding row, a mask given by name, rows that are masked altogether, an additive mask of -inf."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8, padding_idx=0)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.register_buffer("never", torch.tensor(-math.inf))
        self.last = nn.Linear(8, 3)

    def forward(self, ids, mask=None):
        x = self.embed(ids)
        keep = mask.bool()[:, None, None, :].expand(-1, 2, ids.shape[1], -1)
        q = x.unflatten(-1, (2, 4)).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, q, q, attn_mask=keep).transpose(1, 2).flatten(-2)
        scores = torch.where(torch.ones(ids.shape[1], ids.shape[1]).tril().bool(), x @ x.mT, self.never)
        z = scores.softmax(-1) @ x + self.attention(x, x, x, need_weights=False)[0]
        return self.last(y + z).masked_fill(mask[..., None] == 0, 0.0).amax(1)


class Images(nn.Module):
    """Convolutions of all kinds, batch statistics, pooling that rounds up, resizing."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3, stride=2, padding=1, bias=False)
        self.batch = nn.BatchNorm2d(6)
        self.depth = nn.Conv2d(6, 6, 3, padding="same", groups=6, padding_mode="reflect")
        self.group, self.instance = nn.GroupNorm(3, 6), nn.InstanceNorm2d(6, affine=True)
        self.back = nn.ConvTranspose2d(6, 4, 3, stride=2, output_padding=1, padding=1, groups=2)
        self.line = nn.Conv1d(4, 4, 3, dilation=2, padding=2)
        self.slopes, self.last = nn.PReLU(4), nn.Linear(4, 5)
        self.batch.running_mean.copy_(torch.linspace(-0.2, 0.3, 6))
        self.batch.running_var.copy_(torch.linspace(0.5, 1.5, 6))

    def forward(self, x):
        x = F.relu(self.batch(self.first(x)))
        x = F.silu(self.group(self.depth(x))) + self.instance(x)
        x = F.max_pool2d(x, 3, 2, padding=1, ceil_mode=True) + F.avg_pool2d(
            x, 3, 2, padding=1, ceil_mode=True
        )
        x = self.slopes(self.back(x))
        x = x + F.interpolate(F.adaptive_avg_pool2d(x, 3), size=x.shape[2:], mode="bilinear")
        x = x + F.interpolate(F.adaptive_max_pool2d(x, 2), size=x.shape[2:], mode="nearest")
        return self.last(self.line(F.pad(x, (1, 1, 0, 0)).flatten(2)).mean(-1))


class Recurrent(nn.Module):
    """All three kinds of recurrent layers, two layers deep, both ways."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, num_layers=2, batch_first=True, bidirectional=True)
        self.gru, self.elman = nn.GRU(8, 4, batch_first=True), nn.RNN(4, 3, nonlinearity="relu", bias=False)
        self.cell = nn.GRUCell(3, 3)

    def forward(self, x):
        x, (hidden, _) = self.lstm(x)
        x, _ = self.elman(self.gru(x)[0].transpose(0, 1))
        return self.cell(x[-1], x[0]) + hidden[-1, :, :3]


class Kinks(nn.Module):
    """Parameters that stand exactly where derivatives must be chosen."""

    def __init__(self):
        super().__init__()
        self.at = nn.Parameter(torch.tensor([-3.0, -2.0, -1.0, -0.5, 0.0, 0.0, 0.5, 1.0, 2.0, 3.0, 6.0]))
        self.zero = nn.Parameter(torch.zeros(3))
        self.tied = nn.Parameter(torch.tensor([[1.0, 1.0, 0.5], [2.0, 2.0, 2.0]]))

    def forward(self, x):
        w = self.at
        kinked = [F.relu(w), F.relu6(w), F.hardtanh(w), w.clamp(-1, 1), w.clamp(min=0), F.hardswish(w)]
        kinked += [F.leaky_relu(w), F.elu(w), F.selu(w), F.celu(w), F.softplus(20 * w)]
        kinked += [
            w.abs(),
            F.hardshrink(w),
            F.softshrink(w),
            F.threshold(w, 1.0, 0.0),
            w.sign() * w,
            w.floor() * w,
        ]
        kinked += [
            torch.maximum(w, w.flip(0)),
            torch.minimum(w, torch.zeros(())),
            torch.fmod(w, 2.0),
            w.remainder(2.0),
        ]
        norms = [
            self.zero.norm(),
            torch.linalg.vector_norm(self.zero),
            self.zero.std(),
            (self.zero + 1).prod(),
        ]
        ties = [self.tied.amax(1), self.tied.max(1).values, self.tied.max(), self.tied.sort(1).values[:, 0]]
        ties += [F.max_pool1d(self.tied, 2).flatten(), self.tied.logsumexp(1), self.tied.cumprod(1)[:, -1]]
        scale = torch.cat([part.flatten() for part in [*kinked, *norms, *ties]])
        return torch.sin(x[:, :1] + scale * x[:, 1:])


class Types(nn.Module):
    """Numbers of several types meet; PyTorch's rules decide, and the graph records what they decided."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("shares", torch.linspace(0, 1, 4).half())
        self.register_buffer("count", torch.arange(4), persistent=False)

    def forward(self, x):
        y = self.layer(x)
        whole = (self.count // 2 * 3 - 1).float() / (self.count + 1) + self.count / 2
        truths = (
            (y > 0).sum(1, keepdim=True)
            + (y > 0).float().mean()
            + ((y > 0) | (y < -1)).long().argmax(1)[:, None]
        )
        brain = (
            y.bfloat16().float() * 0.125 + (self.shares * y).double().float() + self.shares.to(y.dtype) ** 2
        )
        return y * whole + 0.01 * truths + brain + torch.arange(0, 1, 0.25) + torch.full((4,), 2)


class Regions(nn.Module):
    """Parts without gradients, writes in place on views, detached factors, a count kept in a buffer."""

    def __init__(self):
        super().__init__()
        self.layer, self.count = nn.Linear(4, 4), nn.Buffer(torch.ones(()))

    def forward(self, x):
        self.count += 1
        y = self.layer(x)
        with torch.no_grad():
            scale = y.abs().amax(1, keepdim=True)
        y = y / scale
        y[:, 0] = 0.5
        y[:, 1:3] += 1
        y.mul_(2).clamp_(max=3.0)
        return y * y.detach() + self.count


class Quiet(nn.Module):
    """A part without gradients, and no write in place beside it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        y = self.layer(x)
        with torch.no_grad():
            low, high = y.amin(1, keepdim=True), y.amax(1, keepdim=True)
        return (y - low) / (high - low), y


class Pieces(nn.Module):
    """Cuts, joins, indices, scatters, sums, norms, contractions and transforms."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(6, 8))
        self.register_buffer("order", torch.tensor([3, 1, 0, 2, 5, 4]))

    def forward(self, x):
        y = torch.einsum("bi, oi -> bo", x, self.w)
        a, b = y.split([2, 4], 1)
        picked = torch.cat([y[:, self.order], y.index_select(1, self.order), b.roll(1, 1), a.flip(1)], 1)
        spread = torch.zeros_like(y).scatter_add(1, self.order.expand(y.shape), y) + y.gather(
            1, self.order.expand(y.shape)
        )
        sums = torch.stack(
            [
                y.cumsum(1),
                y.softmax(1),
                y.log_softmax(1),
                y[:, None].expand(-1, 6, -1).tril().sum(-1),
                y.sort(1).values,
            ],
            0,
        ).sum(0)
        size = torch.stack(
            [y.var(1), y.std(1), y.norm(dim=1), y.logsumexp(1), y.prod(1), y.norm(p=3, dim=1)], 1
        )
        wave = torch.fft.rfft(y).abs() + F.cosine_similarity(y, x[:, :6])[:, None]
        windows = F.pad(y, (1, 1), mode="circular").unfold(1, 3, 1).mean(-1)
        turned = (y.view(-1, 2, 3).permute(0, 2, 1).reshape(-1, 6) @ self.w.t()[:6]).repeat(1, 2)
        best = y.topk(2, 1).values.repeat_interleave(3, 1) + torch.where(y > 0, y, 0.1 * y).addcmul(
            y, y, value=0.5
        )
        return torch.cat([picked, spread, sums, size, wave, windows, turned, best, torch.diff(y)], 1)


def float_rows(*shape):
    """Return inputs that are the same each time."""
    return torch.randn(5, *shape, generator=torch.Generator().manual_seed(1))


def tokens(high, length):
    """Return token ids that are the same each time."""
    return torch.randint(0, high, (5, length), generator=torch.Generator().manual_seed(1))


def padded():
    """Return token ids and their mask; the last row is padding altogether."""
    ids = tokens(10, 6) + 1
    mask = torch.arange(6) < torch.tensor([6, 4, 3, 1, 0])[:, None]
    return {"ids": ids * mask, "mask": mask.long()}


# Each network with its inputs, by position or by name, and the part of its outputs that is looked at.
MODULES = {
    "mlp": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)),
        lambda: (float_rows(3),),
        None,
    ),
    "gpt": (GPT, lambda: (tokens(17, 8),), lambda outputs: outputs["logits"]),
    "masked": (Masked, padded, None),
    "images": (Images, lambda: (float_rows(2, 9, 9),), None),
    "recurrent": (Recurrent, lambda: (float_rows(4, 3),), None),
    "kinks": (Kinks, lambda: (float_rows(2),), None),
    "types": (Types, lambda: (float_rows(4),), None),
    "regions": (Regions, lambda: (float_rows(4),), None),
    "quiet": (Quiet, lambda: (float_rows(4),), lambda outputs: outputs[0]),
    "pieces": (Pieces, lambda: (float_rows(8),), None),
}


def make(name):
    """Return a network in evaluation mode, its arguments by position and by name, and what to look at."""
    build, example, pick = MODULES[name]
    torch.manual_seed(0)
    inputs = example()
    args, kwargs = ((), inputs) if isinstance(inputs, dict) else (inputs, {})
    return build().eval(), args, kwargs, pick or (lambda outputs: outputs)
