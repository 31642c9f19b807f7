"""The base class of fronts, which make steps of a kind of input."""

from typing import Any, ClassVar

from keras import KerasTensor

FEWEST = 8  # steps that conv1d leaves by default
MOST = 64  # tokens that transformer makes by default


class Front:
    """Base of all fronts; one for each kind of input, registered by `@mk.towers.fronts.register(Kind)`.

    Attributes:
        options: names of the towers' options that `steps` takes.
        filters, kernel, stride: defaults of `conv1d`. Those of the base class are for measurements, whose neighbouring
            steps are similar.
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
            `(batch, steps, channels)`, float, zeros where the mask is False.
        """
        raise NotImplementedError(f"{type(self).__name__} has to make the steps of its kind of input")

    def depth(self, steps: int) -> int:
        """The default number of layers of `conv1d`: until at most 8 steps are left, from 1 to 4."""
        return min(max(1, ((steps - 1) // FEWEST).bit_length()), 4)

    def patch(self, steps: int) -> int:
        """The default number of steps in one token of `transformer`: the fewest that give at most 64 tokens."""
        return -(-steps // MOST)
