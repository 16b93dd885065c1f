"""The commands, one a file: its arguments, a call of one room, a table. A new one is a file and a line below.

Each module has `SUMMARY` (one line), `USAGE`, `EXAMPLE`, `add_arguments(parser)` and `run(arguments)`, which
returns the exit code, and imports what is heavy only when it runs.
"""

from __future__ import annotations

COMMANDS = {
    "demo": "ldseg.commands.demo",
    "check": "ldseg.commands.check",
    "plan": "ldseg.commands.plan",
    "train": "ldseg.commands.train",
    "predict": "ldseg.commands.predict",
    "evaluate": "ldseg.commands.evaluate",
    "compare": "ldseg.commands.compare",
    "robustness": "ldseg.commands.robustness",
    "calibrate": "ldseg.commands.calibrate",
    "report": "ldseg.commands.report",
    "view": "ldseg.commands.view",
    "export": "ldseg.commands.export",
    "models": "ldseg.commands.models",
    "doctor": "ldseg.commands.doctor",
}
