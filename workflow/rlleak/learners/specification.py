"""What a network looks like, in words that a configuration file, a safetensors header and an attacker can read."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Convolution(BaseModel):
    """One convolution, followed by the network's activation. padding: zeros around its input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: int = Field(gt=0)
    kernel: int = Field(gt=0)
    stride: int = Field(gt=0)
    padding: int = Field(0, ge=0)


Activation = Literal["relu", "tanh", "elu", "leaky_relu", "silu", "gelu", "sigmoid"]


class NetworkSpec(BaseModel):
    """A network for an image, a vector, or both.

    The image passes `convolutions`, the vector one linear layer of `vector_width` (0: the vector goes straight in);
    both are concatenated, image features first, and pass linear layers of `hidden` widths and a linear head of
    `outputs`. `activation` stands behind every layer but the head. PyTorch's default initialisation. QGI and RGI draw
    this shape (their Fig. 2) and name no sizes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_shape: tuple[int, int, int] | None = Field(None, description="channels, height, width; null: no image")
    vector_size: int = Field(0, ge=0, description="0: no vector")
    convolutions: tuple[Convolution, ...] = ()
    vector_width: int = Field(0, ge=0)
    hidden: tuple[int, ...] = (512,)
    outputs: int = Field(gt=0)
    bias: bool = True
    activation: Activation = "relu"

    @model_validator(mode="after")
    def _fits(self) -> "NetworkSpec":
        if self.image_shape is None and self.vector_size == 0:
            raise ValueError("a network needs an image, a vector, or both")
        if self.vector_width and not self.vector_size:
            raise ValueError("vector_width is set but vector_size is 0")
        if self.convolutions and self.image_shape is None:
            raise ValueError("convolutions need an image_shape")
        self.feature_shapes  # noqa: B018  raises if an image is too small for its kernels
        return self

    @property
    def feature_shapes(self) -> list[tuple[int, int, int]]:
        """(channels, height, width) after each convolution. Raises ValueError where the image is too small."""
        if self.image_shape is None:
            return []
        _, height, width = self.image_shape
        shapes = []
        for index, layer in enumerate(self.convolutions):
            if min(height, width) + 2 * layer.padding < layer.kernel:
                raise ValueError(f"convolution {index} has kernel {layer.kernel} but its input is {height}x{width}")
            height, width = ((side + 2 * layer.padding - layer.kernel) // layer.stride + 1 for side in (height, width))
            shapes.append((layer.channels, height, width))
        return shapes

    @property
    def image_features(self) -> int:
        """How many numbers the image contributes to the first linear layer."""
        if self.image_shape is None:
            return 0
        channels, height, width = [self.image_shape, *self.feature_shapes][-1]
        return channels * height * width

    @property
    def linear_inputs(self) -> int:
        """Width of the input of the first hidden layer: image features, then the vector's."""
        return self.image_features + (self.vector_width or self.vector_size)

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of each parameter, in the network's own order."""
        shapes: dict[str, tuple[int, ...]] = {}

        def add(name: str, *weight: int) -> None:
            shapes[f"{name}.weight"] = weight
            if self.bias:
                shapes[f"{name}.bias"] = weight[:1]

        channels = self.image_shape[0] if self.image_shape else 0
        for index, layer in enumerate(self.convolutions):
            add(f"convolutions.{index}", layer.channels, channels, layer.kernel, layer.kernel)
            channels = layer.channels
        if self.vector_width:
            add("vector", self.vector_width, self.vector_size)
        width = self.linear_inputs
        for index, hidden in enumerate(self.hidden):
            add(f"hidden.{index}", hidden, width)
            width = hidden
        add("head", self.outputs, width)
        return shapes
