"""What transfer, distillation and a shared space are worth: each beside the control that shows whether it helped.

    python benchmarks/transfer.py run [--only PATTERN] [--seeds 3] [--jobs 2]
    python benchmarks/transfer.py table                               # writes benchmarks/RESULTS.md, with repertoire.py

A cell is a study and a seed, written as `few_labels/0`; it runs in a process of its own, by one thread of TensorFlow,
and leaves a small JSON file in --out, benchmarks/cells, which is committed. A cell is kept until the study's code
changes, so a stopped run goes on. The studies (studies/), on av_digits where no other set is named:

    questions    qa.csv with towers pre-trained on single digits, beside training from scratch and untrained towers
    few_labels   10 labelled recordings a class: taught by an image teacher over pairs without labels, or not
    students     degraded digits: a teacher that sees and hears, students that only see or only hear
    space        image and sound in a shared space, from pairs without labels
    heads        the same, trained together with heads that read the space, by each alignment loss
    pictures_and_questions  easy-VQA's pictures and the questions that fit them in a shared space
    bodies       transformer blocks between pictures (cifar10_mini) and sentences (newsgroups20)

Recipes were chosen on validation rows. The archives are looked for as in repertoire.py.
"""

import argparse
import fnmatch
import json
import os
import time
from multiprocessing.pool import ThreadPool

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import results
from cells import in_a_process, keep, one_thread, options
from studies import STUDIES, recipe
from transfer_table import OUT, done


def run(asked: argparse.Namespace) -> None:
    """Every cell that is asked for and not there yet."""
    cells = [(name, seed) for seed in range(asked.seeds) for name in STUDIES]
    cells = [(asked, *cell) for cell in cells if fnmatch.fnmatch("{}/{}".format(*cell), asked.only)]
    with ThreadPool(asked.jobs) as pool:
        pool.starmap(do, cells, chunksize=1)


def do(asked: argparse.Namespace, name: str, seed: int) -> None:
    """One cell in a process of its own, unless it is there."""
    path = asked.out / f"{name}.{seed}.json"
    if done(path, name):
        return
    found, error = in_a_process(__file__, ["cell", "--only", f"{name}/{seed}", "--data", asked.data], path)
    if found:
        keep(found, path)
    print(f"{name}/{seed}", error or json.dumps(found)[:2000], flush=True)


def main() -> None:
    parser = options(__doc__, "study/seed", OUT)
    asked = parser.parse_args()
    if asked.what == "cell":
        name, seed = asked.only.split("/")
        one_thread()
        start = time.process_time()
        found = STUDIES[name](asked.data, int(seed))
        print("\n" + json.dumps({"recipe": recipe(name), "found": found, "cpu": time.process_time() - start}))
    elif asked.what == "run":
        run(asked)
    else:
        results.write(transfer=asked.out)


if __name__ == "__main__":
    main()
