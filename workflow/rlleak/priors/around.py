"""A prior about what sets images apart from the one that they have in common.

For frames of one game or one camera, most of which never change: what does change is piecewise constant where the
frames themselves are not.
"""

from dataclasses import dataclass

from torch import Tensor

from rlleak.priors.prior import Prior


@dataclass
class Around:
    """A `Prior`. mean: (C, H, W), what the images have in common; apart: the prior about their differences from it."""

    mean: Tensor
    apart: Prior

    helps = True

    @property
    def unseen(self) -> Tensor:
        """See `Prior`."""
        return self.mean

    def __call__(self, image: Tensor, deviation: Tensor) -> Tensor:
        """See `Prior`."""
        mean = self.mean.to(image)
        return mean + self.apart(image - mean, deviation)

    def reset(self) -> None:
        """See `Prior`."""
        self.apart.reset()
