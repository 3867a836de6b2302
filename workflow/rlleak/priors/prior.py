"""What a prior is: it is called with images (V, C, H, W) in [0, 1] that carry an error of a given standard deviation, and
returns its guess at what they were without. Total variation needs nothing; a learnt denoiser needs public views.
"""

from typing import Protocol

from torch import Tensor


class Prior(Protocol):
    """A denoiser."""

    def __call__(self, image: Tensor, deviation: Tensor) -> Tensor:
        """The guess at (V, C, H, W) images without their error; deviation: (V,), that error's, in image units."""
        ...

    def reset(self) -> None:
        """Forgets what earlier calls left for later ones: other images follow."""
        ...
