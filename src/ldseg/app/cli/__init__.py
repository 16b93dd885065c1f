"""The commands of the command line, one per file. A new command is a file and a line in `COMMANDS`.

Each module has `SUMMARY` (one line), `USAGE`, `EXAMPLE`, `add_arguments(parser)` and `run(arguments)`, which
returns the exit code. Heavy imports happen only when the command runs.
"""

from __future__ import annotations

COMMANDS = {
    "demo": "ldseg.app.cli.demo",
    "check": "ldseg.app.cli.check",
    "plan": "ldseg.app.cli.plan",
    "train": "ldseg.app.cli.train",
    "predict": "ldseg.app.cli.predict",
    "evaluate": "ldseg.app.cli.evaluate",
    "compare": "ldseg.app.cli.compare",
    "robustness": "ldseg.app.cli.robustness",
    "calibrate": "ldseg.app.cli.calibrate",
    "report": "ldseg.app.cli.report",
    "view": "ldseg.app.cli.view",
    "export": "ldseg.app.cli.export",
    "models": "ldseg.app.cli.models",
    "doctor": "ldseg.app.cli.doctor",
}
