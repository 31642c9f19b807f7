"""PyTorch's side of `pipeline.py epochs`, in a process that does not import TensorFlow.

python benchmarks/pipeline_torch.py files|arrays --data MANIFEST
"""

import argparse
import json
import statistics
import wave
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from processes import epoch

BATCH, LATER = 128, 5  # rows; epochs after the first


def columns_of(manifest: Path) -> tuple[list, list, list, tuple]:
    """Pictures, recordings or sentences, and classes of the training rows; and how the first two are read."""
    table, folder = pd.read_csv(manifest), manifest.parent
    table = table[table["split"] == "train"]
    digits = folder.name == "av_digits"
    target = "label" if digits else "answer"
    classes = {label: number for number, label in enumerate(sorted(table[target].astype(str).unique()))}
    words = {}

    def picture(path):
        with Image.open(folder / path) as opened:
            return np.asarray(opened.convert("L" if digits else "RGB"))

    def sound(path):
        with wave.open(str(folder / path)) as opened:
            samples = np.frombuffer(opened.readframes(opened.getnframes()), np.int16)[:8000]
        return np.pad(samples / np.float32(32768), (0, 8000 - len(samples)))

    def sentence(text):
        ids = [words.setdefault(word, len(words) + 2) for word in text.lower().replace("?", "").split()][:16]
        return np.array(ids + [0] * (16 - len(ids)), np.int32)

    second, read = ("audio", sound) if digits else ("question", sentence)
    labels = [classes[str(label)] for label in table[target]]
    return table["image"].tolist(), table[second].tolist(), labels, (picture, read)


def theirs(manifest: Path, kept: bool) -> dict:
    """A DataLoader from files with 2 workers, or over decoded arrays in memory."""
    import torch  # here, as mmkeras' side reads the constants of this file without it

    pictures, others, labels, (picture, read) = columns_of(manifest)
    if kept:
        pictures, others = np.stack([*map(picture, pictures)]), np.stack([*map(read, others)])

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return len(labels)

        def __getitem__(self, row):
            first, other = pictures[row], others[row]
            return (first, other, labels[row]) if kept else (picture(first), read(other), labels[row])

    epochs = []
    for _ in range(LATER if kept else 1):
        epochs.append(epoch(torch.utils.data.DataLoader(Rows(), BATCH, shuffle=True, num_workers=0 if kept else 2)))
    return {"later" if kept else "first": [statistics.median(part) for part in zip(*epochs, strict=True)]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["files", "arrays"])
    parser.add_argument("--data", type=Path, required=True, help="a manifest")
    asked = parser.parse_args()
    print("\n" + json.dumps(theirs(asked.data, kept=asked.what == "arrays")))


if __name__ == "__main__":
    main()
