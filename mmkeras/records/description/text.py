"""How sentences are described."""

from typing import Any

import numpy as np
import pandas as pd

from mmkeras.decode.strangers import left_out as lost
from mmkeras.decode.strangers import one_word, words_of
from mmkeras.decode.tokens import CHUNK, in_nfc, split
from mmkeras.inputs import Text
from mmkeras.records.description.base import Describer, register, spread
from mmkeras.tokenizers import tokenizer_of


@register(Text)
class TextDescriber(Describer):
    """Its table: words, left_out (how many different symbols no word holds), one_word (whether a phrase is one word).

    With a fitted schema also outside, how many of the words are outside its vocabulary.
    """

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
        left_out: list[int] = []
        phrases: list[bool] = []
        for start in range(0, len(distinct), CHUNK):
            texts = in_nfc(distinct[start : start + CHUNK])
            chunk = split(part, texts)
            tokens = words_of(chunk)
            left_out += [len(lost(*pair)) for pair in zip(texts, tokens, strict=True)]
            phrases += map(one_word, tokens)
            words[start : start + CHUNK] = chunk.row_lengths()
            if known is not None:
                new = [word not in known for word in chunk.flat_values.numpy()]
                rows = chunk.value_rowids().numpy()[np.array(new, bool)]
                outside[start : start + CHUNK] = np.bincount(rows, minlength=chunk.nrows().numpy())
        seen = {"words": words} | ({} if known is None else {"outside": outside})
        seen |= {"left_out": np.array(left_out, int), "one_word": np.array(phrases, bool)}
        return pd.DataFrame({name: values[number] for name, values in seen.items()})

    def lines(self, part: Text, table: pd.DataFrame, distinct: int) -> list[str]:
        """The spread of the words, and the shares of those that the model does not see."""
        words, unit = table["words"], self.unit(part)
        said = [spread(words, f"{unit} in a text", "{:,.0f}", (("95 %", 0.95),))]
        if part.vocabulary is not None:
            share = table["outside"].sum() / max(words.sum(), 1)
            said.append(f"outside the vocabulary of {len(part.vocabulary):,}: {share:.1%} of the {unit}")
        notes = {"left_out": "with symbols that no word holds", "one_word": "without spaces between words"}
        for column, what in notes.items():
            if share := table[column].astype(bool).mean() if len(table) else 0:
                said.append(f"{what}: {share:.1%} of the texts")
        longer = np.mean(words > part.length) if len(words) else 0
        return [*said, f"longer than length={part.length}: {longer:.1%} of the texts"]
