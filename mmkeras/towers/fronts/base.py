"""What a kind of input gives to the towers that read step by step."""

from typing import Any, ClassVar

from keras import KerasTensor

FEWEST = 8  # steps that conv1d leaves by default
MOST = 64  # tokens that transformer makes by default


class Front:
    """Base of all fronts; one for each kind of input, registered by `@mk.towers.fronts.register(Kind)`.

    Attributes:
        options: names of those options of the towers that `steps` takes.
        filters, kernel, stride: what `conv1d` takes by default. The numbers of the base are those for measurements,
            which are close to their neighbours.
    """

    options: ClassVar[tuple[str, ...]] = ()
    filters: ClassVar[int] = 32
    kernel: ClassVar[int | tuple[int, ...]] = 5
    stride: ClassVar[int] = 2

    def steps(self, x: KerasTensor, mask: KerasTensor | None, feature: Any, name: str, **options: Any) -> KerasTensor:
        """A vector for each step.

        Args:
            x: `(batch, *feature.shape)`, of the dtype and in the units of the schema.
            mask: `(batch, length)`, bool, True where there is a step; None: everywhere.
            feature: the schema's entry, fitted.
            name: of the input, prefix of the layers' names.
            **options: those given of the `options`.

        Returns:
            `(batch, steps, channels)`, float, zeros behind the mask.
        """
        raise NotImplementedError(f"{type(self).__name__} has to make the steps of its kind of input")

    def depth(self, steps: int) -> int:
        """The number of layers that `conv1d` takes by default: until at most 8 steps are left, from 1 to 4."""
        return min(max(1, ((steps - 1) // FEWEST).bit_length()), 4)

    def patch(self, steps: int) -> int:
        """The steps of one token that `transformer` takes by default: as many as give at most 64 tokens."""
        return -(-steps // MOST)
