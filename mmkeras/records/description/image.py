"""How pictures are described."""

from typing import Any

import pandas as pd

from mmkeras.inputs import Image
from mmkeras.plotting import INK, PALE
from mmkeras.records.description.base import register
from mmkeras.records.description.drawing import BLUE, ORANGE
from mmkeras.records.description.files import FileDescriber, sizes
from mmkeras.records.description.pictures import picture


@register(Image)
class ImageDescriber(FileDescriber):
    """Its table: file, format, height, width, orientation (EXIF)."""

    columns = ("format", "height", "width", "orientation")

    def header(self, path: str) -> tuple[str, int, int, int]:
        """Format, height, width and EXIF orientation of a picture file."""
        return picture(path)

    def lines(self, part: Image, table: pd.DataFrame, distinct: int) -> list[str]:
        """Formats, sizes as they are stored, and how many pictures are turned by their orientation alone."""
        readable = table.dropna()
        turned = int((readable["orientation"] != 1).sum())
        said = [self.formats(table, distinct), *([sizes(part, readable)] if len(readable) else [])]
        stored = " (not applied: upright=False)" if turned and not part.upright else ""
        return [*said, f"EXIF orientation other than 1: {turned:,}{stored}"]

    def draw(self, axes: Any, part: Image, table: pd.DataFrame) -> str:
        """The pictures' sizes, by their number. Returns the title."""
        found = table.dropna().value_counts(["width", "height"]).reset_index()
        area = 24 + 400 * found["count"] / max(found["count"].sum(), 1)
        look = {"color": BLUE, "alpha": 0.6, "edgecolor": "white"}
        if len(found) > 3:
            axes.scatter(found["width"], found["height"], area, **look)
        else:
            for size, share in zip(found.to_dict("records"), area, strict=True):
                told = f"{size['height']:.0f} x {size['width']:.0f}, {size['count']:,} files"
                axes.scatter(size["width"], size["height"], share, label=told, **look)
        model = f"{part.height} x {part.width}, the model's"
        axes.scatter([part.width], [part.height], 90, color=ORANGE, marker="+", linewidth=2, label=model)
        right, top = (1.15 * max([*found[side], getattr(part, side)]) for side in ("width", "height"))
        # a list, as labels at the sizes would lie on each other where these are alike
        axes.legend(loc="best", fontsize=9, frameon=False, labelcolor=INK)
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_major_locator().set_params(integer=True)
        axes.grid(color=PALE)
        axes.set(xlabel="width, pixels", ylabel="height, pixels", xlim=(0, right), ylim=(0, top))
        return "height x width of pictures"
