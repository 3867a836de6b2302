"""What a prior is: a guess at images (V, C, H, W) in [0, 1] without the error, of a given deviation, that they carry.

Total variation needs nothing; a learnt denoiser needs public views.
"""

from typing import Protocol

from torch import Tensor


class Prior(Protocol):
    """A denoiser."""

    @property
    def unseen(self) -> Tensor | float:
        """What it takes an image to be of which nothing is known: (C, H, W), or one value for all."""
        ...

    @property
    def helps(self) -> bool:
        """Whether it is as good as total variation at least, as far as is known; else that is taken."""
        ...

    def __call__(self, image: Tensor, deviation: Tensor) -> Tensor:
        """The guess at (V, C, H, W) images without their error; deviation: (V,), that error's, in image units."""
        ...

    def reset(self) -> None:
        """Forgets what earlier calls left for later ones: other images follow."""
        ...
