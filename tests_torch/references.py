"""What PyTorch itself says of a network in 64 bits: outputs, gradient, and Hessian times a vector."""

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def reference(module, args, kwargs, pick):
    """Return arrays by name: the inputs (x/), outputs (y), and by parameter g/, the direction v/ and h/.

    The loss is the mean of √(1 + outputs²). Only the type of parameters and buffers changes, and back.
    """
    kinds = {tensor: tensor.dtype for tensor in [*module.parameters(), *module.buffers()]}
    double = lambda value: value.double() if value.is_floating_point() else value
    try:
        for tensor in kinds:
            if tensor.dtype == torch.float32:
                tensor.data = tensor.data.double()
        # There is no second derivative of the fused kernels.
        with sdpa_kernel(SDPBackend.MATH):
            y = pick(module(*map(double, args), **{name: double(value) for name, value in kwargs.items()}))
        named = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
        parameters = list(named.values())
        loss = (1 + y.double().square()).sqrt().mean()
        gradient = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
        random = np.random.default_rng(0)
        direction = [torch.tensor(random.normal(size=parameter.shape)) for parameter in parameters]
        slope = sum((g * v).sum() for g, v in zip(gradient, direction, strict=True) if g is not None)
        curvature = torch.autograd.grad(slope, parameters, allow_unused=True)
    finally:
        for tensor, kind in kinds.items():
            tensor.data = tensor.data.to(kind)
    inputs = {str(at): value for at, value in enumerate(args)} | dict(kwargs)
    return {f"x/{name}": value.numpy() for name, value in inputs.items()} | {
        "y": _plain(y, y),
        **{f"g/{name}": _plain(value, at) for (name, at), value in zip(named.items(), gradient, strict=True)},
        **{f"v/{name}": _plain(value, value) for name, value in zip(named, direction, strict=True)},
        **{
            f"h/{name}": _plain(value, at) for (name, at), value in zip(named.items(), curvature, strict=True)
        },
    }


def _plain(value, like):
    value = torch.zeros_like(like) if value is None else value
    return value.detach().float().numpy()
