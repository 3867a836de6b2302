"""What signs and mean magnitudes alone leave of one transition: less than they seem to hide.

torch.sign keeps 0, so the signs say which ReLUs are open, and with that each layer's input is a known affine function
of x, what the network reads, and each error a known multiple of e. Every unit is then a half space that x lies in,
every number of x has a known sign, and every layer's mean magnitude |d| |input| / count is a linear equation in x.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import null_space
from scipy.optimize import linprog
from torch import Tensor

from rlleak.attacks.transitions.posterior import Beliefs, Modes
from rlleak.configuration.defences import parts_of
from rlleak.sharing.update import SharedUpdate

STEPS, BACK = 60, 40
REACH = 4.0
"""Deviations of the prior within which x is sought."""
SURE = 1e-9
"""e's deviation, relative: its magnitude arrives as it is."""


def signs_alone(update: SharedUpdate) -> bool:
    """Whether signs, and one magnitude per tensor, are all that arrived."""
    *before, last = [part["method"] for part in parts_of(update.defence)]
    whole = not update.known and update.architecture.bias
    return last == "sign" and set(before) <= {"clipping", "none"} and whole


@dataclass(frozen=True)
class _Facts:
    """inside x + offset >= 0, equal x = right."""

    inside: np.ndarray
    offset: np.ndarray
    equal: np.ndarray
    right: np.ndarray


def from_signs(update: SharedUpdate, beliefs: Beliefs) -> Modes | None:
    """The middle of what the signs of one victim's update allow, weighed against the prior, as the only mode.

    The mode of the prior times the product of the distances to all half spaces' edges. None where nothing is allowed:
    an update of zeros, or one of several samples.
    """
    bias = update.gradients["head.bias"][0].double()
    taken, error = bias.abs().argmax(), bias.sum() * len(bias)
    if float(error) == 0:
        return None
    facts = _facts(update, taken, error)
    found = _middle(facts, beliefs)
    if found is None:
        return None
    inputs, curvature = (torch.from_numpy(part).to(bias) for part in found)
    sure = (SURE * error.abs()).view(1, 1) ** -2
    return Modes(
        inputs.view(1, 1, 1, -1),
        error.view(1, 1, 1),
        taken.view(1, 1, 1),
        error.new_zeros(1, 1),
        torch.block_diag(sure, curvature)[None, None],
        error.new_zeros(1, 1),
    )


def _facts(update: SharedUpdate, taken: Tensor, error: Tensor) -> _Facts:
    spec = update.architecture
    names = ["vector"] if spec.vector_width else []
    names += [*(f"hidden.{index}" for index in range(len(spec.hidden))), "head"]
    signs = {name: update.gradients[f"{name}.weight"][0].double() for name in names}
    weights = {name: update.parameters[f"{name}.weight"].double() for name in names}
    width = weights[names[0]].shape[1]
    constant = torch.eye(width + 1, dtype=torch.float64, device=error.device)[0]
    table, tables, is_open = torch.eye(width + 1, dtype=torch.float64, device=error.device)[1:], {}, {}
    inside = []
    for name in names:
        tables[name] = table
        if name != "head":
            table = weights[name] @ table + update.parameters[f"{name}.bias"].double()[:, None] * constant
            is_open[name] = (update.gradients[f"{name}.bias"][0] != 0).double()[:, None]
            inside.append(table * (2 * is_open[name] - 1))
            table = table * is_open[name]
    delta = error * torch.nn.functional.one_hot(taken, len(signs["head"])).double()
    equal, right = [], []
    for name in reversed(names):
        if name != "head":
            delta = delta * is_open[name][:, 0]
        sign = (delta @ signs[name]).sign() if name == names[0] else torch.ones_like(tables[name][:, 0])
        magnitude = signs[name].abs().amax() * signs[name].numel() / delta.abs().sum().clamp_min(1e-300)
        row = sign @ tables[name]
        equal.append(row[1:])
        right.append(magnitude - row[0])
        if name == names[0]:
            inside.append(sign[:, None] * tables[name])
        delta = delta @ weights[name]
    rows = torch.cat(inside).cpu().numpy()
    rows = rows[np.abs(rows[:, 1:]).max(axis=1) > 0]
    return _Facts(rows[:, 1:], rows[:, 0], torch.stack(equal).cpu().numpy(), torch.stack(right).cpu().numpy())


def _middle(facts: _Facts, beliefs: Beliefs) -> tuple[np.ndarray, np.ndarray] | None:
    """x (D,) and the curvature there (D, D): from the point that is farthest from all edges, by Newton's steps."""
    mean, precision = beliefs.mean.cpu().numpy(), beliefs.precision.cpu().numpy()
    reach = REACH * np.sqrt(np.diag(np.linalg.inv(precision)))
    length = np.linalg.norm(facts.inside * reach, axis=1)
    farthest = linprog(
        np.append(np.zeros(len(mean)), -1.0),
        A_ub=np.column_stack([-facts.inside, length]),
        b_ub=facts.offset,
        A_eq=np.column_stack([facts.equal, np.zeros(len(facts.right))]),
        b_eq=facts.right,
        bounds=[*zip(mean - reach, mean + reach, strict=True), (0, None)],
    )
    if farthest.status != 0 or farthest.x[-1] <= 0:
        return None
    here, free = farthest.x[:-1], null_space(facts.equal)
    for _ in range(STEPS if free.shape[1] else 0):
        margin = facts.inside @ here + facts.offset
        pull = precision @ (here - mean) - (facts.inside / margin[:, None]).sum(axis=0)
        bent = free.T @ _curvature(facts, margin, precision) @ free
        step, before = -free @ np.linalg.solve(bent, free.T @ pull), _height(facts, here, mean, precision)
        for shorter in 0.5 ** np.arange(BACK):
            if _height(facts, here + shorter * step, mean, precision) < before:
                here = here + shorter * step
                break
        else:
            break
    curvature = _curvature(facts, facts.inside @ here + facts.offset, precision)
    # Along what an equation says nothing is open.
    return here, curvature + facts.equal.T @ facts.equal / SURE


def _height(facts: _Facts, here: np.ndarray, mean: np.ndarray, precision: np.ndarray) -> float:
    margin = facts.inside @ here + facts.offset
    if margin.min() <= 0:
        return np.inf
    return float((here - mean) @ precision @ (here - mean) / 2 - np.log(margin).sum())


def _curvature(facts: _Facts, margin: np.ndarray, precision: np.ndarray) -> np.ndarray:
    near = facts.inside / margin[:, None]
    return precision + near.T @ near
