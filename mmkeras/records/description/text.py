"""How sentences are described."""

from typing import Any

import numpy as np
import pandas as pd

from mmkeras.decode.tokens import CHUNK, split
from mmkeras.inputs import Text
from mmkeras.records.description.base import Describer, register, spread
from mmkeras.tokenizers import tokenizer_of


@register(Text)
class TextDescriber(Describer):
    """Its table: words and, with a fitted schema, outside, how many of the words are outside its vocabulary."""

    measure = "words"
    whole = True
    counted = "texts"

    def unit(self, part: Text) -> str:
        """The name of a token."""
        return tokenizer_of(part.tokenizer).unit

    def draw(self, axes: Any, part: Text, table: pd.DataFrame) -> str:
        """The histogram of the texts' tokens. Returns the title."""
        super().draw(axes, part, table)
        return f"{self.unit(part)} in a text"

    def limit(self, part: Text) -> tuple[float, str]:
        """The words that are kept."""
        return part.length, f"length={part.length}"

    def table(self, part: Text, distinct: np.ndarray, number: np.ndarray) -> pd.DataFrame:
        """Count the words of each text."""
        known = None if part.vocabulary is None else {word.encode() for word in part.vocabulary}
        words, outside = np.zeros(len(distinct), int), np.zeros(len(distinct), int)
        for start in range(0, len(distinct), CHUNK):
            chunk = split(part, distinct[start : start + CHUNK])
            words[start : start + CHUNK] = chunk.row_lengths()
            if known is not None:
                new = [word not in known for word in chunk.flat_values.numpy()]
                rows = chunk.value_rowids().numpy()[np.array(new, bool)]
                outside[start : start + CHUNK] = np.bincount(rows, minlength=chunk.nrows().numpy())
        return pd.DataFrame({"words": words[number]} | ({} if known is None else {"outside": outside[number]}))

    def lines(self, part: Text, table: pd.DataFrame, distinct: int) -> list[str]:
        """The spread of the words, and the shares of those that the model does not see."""
        words, unit = table["words"], self.unit(part)
        said = [spread(words, f"{unit} in a text", "{:,.0f}", (("95 %", 0.95),))]
        if part.vocabulary is not None:
            share = table["outside"].sum() / max(words.sum(), 1)
            said.append(f"outside the vocabulary of {len(part.vocabulary):,}: {share:.1%} of the {unit}")
        longer = np.mean(words > part.length) if len(words) else 0
        return [*said, f"longer than length={part.length}: {longer:.1%} of the texts"]
