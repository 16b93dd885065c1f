"""How good are the paper's recipe, ours and deterministic networks after how many training steps?

    python benchmarks/paper_curves.py --data-root DATA --work WORK --out FILE --minutes 60 --parallel 2 \\
        --jobs hc18:paper hc18:paper_augmented hc18:default usgra:paper

Each job, DATA:VARIANT[:SEED] with a variant of `paper_jobs.py`, trains for so many minutes of wall clock, of
which so many run at once. FILE gets a line of JSON for each validation, and for each trained model its Dice
by number of sampling steps and by noise on the image. A command that is given again goes on where it was.
With `--records` the same command makes the records of results/ from FILE.
"""

from __future__ import annotations

import sys

from paper_jobs import VARIANTS, Job
from paper_runs import run, run_parser
from sets import SETS

SCORED = ("hc18", "usgra", "hippocampus")


def main() -> None:
    jobs = [f"{data}:{name}" for data in SCORED for name in VARIANTS]
    run(run_parser(__doc__, jobs).parse_args(), "paper_curves", find_job)


def find_job(text: str) -> Job:
    """Return the job of DATA:VARIANT[:SEED]."""
    data, name, *seed = text.split(":")
    if data not in SETS or name not in VARIANTS:
        sys.exit(f"{text}: choose a set of {', '.join(SETS)} and a variant of {', '.join(VARIANTS)}")
    return Job(data, name, VARIANTS[name], int(seed[0]) if seed else 0)


if __name__ == "__main__":
    main()
