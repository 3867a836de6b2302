"""Which type of object a robot looks at: a small network that reads the reconstructed box in the reconstructed image.

Learnt from labelled boxes of public views, their images made as bad as reconstructions are, their boxes moved about. An
attack that gives no box is read as if the box were the whole image, which is also taught.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlleak.metrics.degrading import degraded

_SIDE = 40
_CONTEXT = 1.5  # sides of what is cut out, in sides of the box
_LEAST = 0.1  # half a side at least, in half images: a box of nothing shows what lies around it
_WIDTHS = (24, 48, 96)
_WHOLE = torch.tensor([-1.0, -1.0, 1.0, 1.0])
_WHOLE_SHARE = 0.15
_JITTER = 0.1  # of a box's sides
_BATCH = 64
_LEARNING_RATE = 4e-3
_CHUNK = 256


class TargetClassifier(nn.Module):
    """Crops (N, C, 40, 40) and their boxes (N, 4) -> logits (N, types)."""

    def __init__(self, channels: int, types: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((channels, *_WIDTHS), _WIDTHS, strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(25 * _WIDTHS[-1] + 4, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, types)
        )

    def forward(self, crops: Tensor, boxes: Tensor) -> Tensor:
        return self.head(torch.cat([self.body(2 * crops - 1).flatten(1), boxes], 1))

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {f"target/{name}": value for name, value in self.state_dict().items()}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "TargetClassifier":
        """From `tensors`, as stored. Raises KeyError or RuntimeError where they do not fit."""
        own = {name.removeprefix("target/"): value for name, value in tensors.items() if name.startswith("target/")}
        network = cls(own["body.0.weight"].shape[1], own["head.3.weight"].shape[0])
        network.load_state_dict(own)
        return network.eval()

    @torch.no_grad()
    def scores(self, images: Tensor, boxes: Tensor | None) -> Tensor:
        """Images (N, C, H, W) in [0, 1] and boxes (N, 4) in [-1, 1], or None -> (N, types)."""
        boxes = _WHOLE.expand(len(images), 4) if boxes is None else in_order(boxes)
        parts = zip(images.split(_CHUNK), boxes.split(_CHUNK), strict=True)
        return torch.cat([self(cut_out(part, around), around) for part, around in parts])


def in_order(boxes: Tensor) -> Tensor:
    """Boxes with their corners the right way round and inside the image."""
    boxes = boxes.clamp(-1.0, 1.0)
    return torch.cat([torch.minimum(boxes[:, :2], boxes[:, 2:]), torch.maximum(boxes[:, :2], boxes[:, 2:])], 1)


def cut_out(images: Tensor, boxes: Tensor) -> Tensor:
    """What lies in and around each box of images (N, C, H, W): (N, C, 40, 40); 0 beyond the image."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    half = _CONTEXT * half.clamp(min=_LEAST)
    steps = (2 * (torch.arange(_SIDE) + 0.5) / _SIDE - 1).to(images)
    x, y = (middle[:, i, None] + half[:, i, None] * steps for i in (0, 1))
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), -1)
    return functional.grid_sample(images, grid, align_corners=False)


def train_target_classifier(
    images: Tensor, view: Tensor, boxes: Tensor, kind: Tensor, types: int, *, epochs: int, seed: int
) -> TargetClassifier:
    """Learns from public views (N, C, H, W) in [0, 1] and their labels: boxes (M, 4) of kind (M,) in view (M,)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TargetClassifier(images.shape[1], types)
        steps = epochs * -(-len(kind) // _BATCH)
        optimiser = torch.optim.AdamW(network.parameters(), _LEARNING_RATE, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _LEARNING_RATE, total_steps=steps + 1)
        network.train()
        for _ in range(epochs):
            for chosen in torch.randperm(len(kind), generator=generator).split(_BATCH):
                if len(chosen) < 2:  # batch norm needs company
                    continue
                logits = network(*_varied(images[view[chosen]], boxes[chosen], generator))
                optimiser.zero_grad()
                functional.cross_entropy(logits, kind[chosen], label_smoothing=0.05).backward()
                optimiser.step()
                schedule.step()
    return network.eval()


def _varied(images: Tensor, boxes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Crops, degraded, and their boxes, moved a little or opened to the whole image; mirrored or not."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    boxes = in_order(boxes + _JITTER * sides * torch.randn(boxes.shape, generator=generator))
    whole = torch.rand(len(boxes), 1, generator=generator) < _WHOLE_SHARE
    boxes = torch.where(whole, _WHOLE, boxes)
    crops = degraded(cut_out(images, boxes), generator)
    mirrored = torch.rand(len(boxes), generator=generator) < 0.5
    flipped = torch.stack([-boxes[:, 2], boxes[:, 1], -boxes[:, 0], boxes[:, 3]], 1)
    return (
        torch.where(mirrored[:, None, None, None], crops.flip(3), crops),
        torch.where(mirrored[:, None], flipped, boxes),
    )
