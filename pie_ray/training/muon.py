"""Muon: SGD with momentum whose steps of convolutions are made orthogonal.

Jordan et al., https://kellerjordan.github.io/posts/muon; torch.optim.Muon has the same rule for matrices and takes no
convolutions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, final, overload

import torch
from torch import Tensor

NUM_ITERATIONS = 5
_A, _B, _C = 3.4445, -4.7750, 2.0315
"""Of Jordan's quintic, which drives singular values towards 1 as fast as it can, and only to about 0.7 to 1.2."""


@final
class Muon(torch.optim.Optimizer):
    """Nesterov momentum for all; of groups with `is_orthogonal`, the update's singular values are brought near 1.

    Such a group's parameters are [outputs, ...], a matrix of outputs x inputs each; its update is scaled by
    sqrt(max(1, outputs / inputs)). Where `num_members` networks lie side by side in a parameter, [members x outputs,
    ...], each is orthogonalised alone. Weight decay is decoupled, as AdamW's: an orthogonal step knows no length that a
    penalty could be a part of.
    """

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, momentum: float, num_members: int = 1) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "is_orthogonal": False})
        self.num_members = num_members

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of all parameters that have a gradient. `closure` is the base class's and must be None."""
        assert closure is None
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            if group["weight_decay"]:
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            if group["is_orthogonal"]:
                self._step_orthogonally(parameters, group)
            else:
                self._step_plainly(parameters, group)
        return None

    def _step_plainly(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        updates = self._momentum(parameters, [_gradient(p) for p in parameters], group["momentum"])
        torch._foreach_add_(parameters, updates, alpha=-group["lr"])

    def _step_orthogonally(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        updates = self._momentum(parameters, [_gradient(p) for p in parameters], group["momentum"])
        alike: dict[torch.Size, list[int]] = defaultdict(list)
        for index, parameter in enumerate(parameters):
            alike[parameter.shape].append(index)
        for shape, indices in alike.items():
            # Matrices of one shape together: small ones cost a kernel's start, and no more for several.
            matrices = torch.stack([updates[index] for index in indices])
            matrices = matrices.reshape(len(indices) * self.num_members, shape[0] // self.num_members, -1)
            rows, columns = matrices.shape[1:]
            orthogonal = orthogonalise(matrices) * max(1.0, rows / columns) ** 0.5
            for index, update in zip(indices, orthogonal.reshape(len(indices), *shape), strict=True):
                parameters[index].add_(update, alpha=-group["lr"])

    def _momentum(self, parameters: list[Tensor], gradients: list[Tensor], momentum: float) -> list[Tensor]:
        """Nesterov's updates, from averages of gradients that are kept."""
        averages = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            averages.append(state["momentum_buffer"])
        torch._foreach_mul_(averages, momentum)
        torch._foreach_add_(averages, gradients)
        return list(torch._foreach_add(gradients, averages, alpha=momentum))


def orthogonalise(matrices: Tensor) -> Tensor:
    """Matrices [n, rows, columns] with about the same singular vectors and singular values near 1.

    Five iterations of Newton and Schulz; in bfloat16 on CUDA, which is enough for a direction.
    """
    values = matrices.bfloat16() if matrices.is_cuda else matrices.float()
    is_tall = values.shape[1] > values.shape[2]
    if is_tall:
        values = values.mT
    values = values / (values.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(NUM_ITERATIONS):
        gram = values @ values.mT
        values = _A * values + (_B * gram + _C * gram @ gram) @ values
    return (values.mT if is_tall else values).to(matrices.dtype)


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
