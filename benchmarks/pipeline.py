"""How fast rows become batches, and in how much memory.

    pip install torch==2.13.0 pillow
    python benchmarks/pipeline.py epochs [--pairs 5]                # beside a PyTorch DataLoader
    python benchmarks/pipeline.py decode [--pairs 15]               # beside a bare tf.io.decode loop
    python benchmarks/pipeline.py million                           # a table of 1,000,000 rows, or --rows
    python benchmarks/pipeline.py shards                            # memory at 20,000 rows, or --rows, and at ten times
    python benchmarks/pipeline.py corrupt                           # 1 % of the files broken in ten ways

Every side of a comparison runs in a process of its own, by turns; CPU-seconds are those of the process, its threads and
its workers. `epochs` goes through the training rows of av_digits (image and recording a row) and easy-VQA (10 questions
share a picture) in batches of 128, without a model: the first epoch, which decodes, and later ones. The PyTorch side is
what one writes there: a Dataset that opens the row's files by Pillow and the module wave and looks the words up in a
dict, a DataLoader with 2 workers, which decode again in every epoch; "arrays" is the same over decoded arrays in
memory, without workers, which is the faster way for it. The archives are looked for in --data, as by repertoire.py.
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from cells import DATA
from pipeline_corrupt import break_some, corrupt, train
from pipeline_decode import decode
from pipeline_epochs import epochs, ours
from pipeline_rows import make, million, read, shards, table, write

SHOWN = {
    "epochs": lambda asked: epochs(asked.pairs or 5, asked.data),
    "decode": lambda asked: decode(asked.pairs or 15, asked.data),
    "million": lambda asked: million(asked.rows or 1_000_000),
    "shards": lambda asked: shards(asked.rows or 20_000),
    "corrupt": lambda asked: corrupt(asked.rows or 3000),
}
PARTS = {  # what these start in processes of their own
    "ours": lambda asked: ours(asked.data),
    "make": lambda asked: make(asked.data, asked.rows),
    "table": lambda asked: table(asked.data),
    "write": lambda asked: write(asked.data),
    "read": lambda asked: read(asked.data),
    "break": lambda asked: break_some(asked.data, asked.rows),
    "train": lambda asked: train(asked.data),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*SHOWN, *PARTS], metavar="{" + ",".join(SHOWN) + "}")
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--rows", type=int)
    asked = parser.parse_args()
    if asked.what in SHOWN:
        SHOWN[asked.what](asked)
    else:
        print("\n" + json.dumps(PARTS[asked.what](asked)))


if __name__ == "__main__":
    main()
