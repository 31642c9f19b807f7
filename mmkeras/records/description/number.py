"""How numbers are described."""

from mmkeras.records.description.base import Describer, register
from mmkeras.targets import Number


@register(Number)
class NumberDescriber(Describer):
    """Its table: value, NaN where a cell is no number."""

    def unit(self, part: Number) -> str:
        """The target's own unit, if it has one."""
        return part.unit or self.measure
