"""nnU-Net's own trainer with a budget of seconds in place of a thousand epochs; found by nnU-Net itself.

Only the end and the number of threads are changed. The learning rate falls by nnU-Net's own rule (Isensee et
al. 2021, polynomial of .9) over the budget, so that it is as low at the end as nnU-Net wants it. No
validation takes time from training.
"""

import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

POWER = 0.9
LOG_EVERY = 25  # iterations
SAVE_EVERY = 600.0  # seconds of the budget
CLOCKS = {"NNUNET_CPU_SECONDS": time.process_time, "NNUNET_WALL_SECONDS": time.monotonic}


class BudgetedTrainer(nnUNetTrainer):
    """Trains until iterations have taken NNUNET_CPU_SECONDS of the process, augmentation included where it is
    in the process, or NNUNET_WALL_SECONDS on the clock, waiting for augmentation included."""

    def run_training(self) -> None:
        self.on_train_start()
        torch.set_num_threads(1)  # of all cores': threads that wait for each other spend CPU time too
        variable = next(name for name in CLOCKS if name in os.environ)
        budget, now = float(os.environ[variable]), CLOCKS[variable]
        state = Path(self.output_folder) / "budget.json"
        so_far = json.loads(state.read_text()) if self.current_epoch else {"spent": 0.0, "iterations": 0}
        spent, iterations = float(so_far["spent"]), int(so_far["iterations"])
        saved = spent
        self.network.train()
        while spent < budget:
            started = now()
            for group in self.optimizer.param_groups:
                group["lr"] = self.initial_lr * (1 - spent / budget) ** POWER
            outcome: dict[str, Any] = self.train_step(next(self.dataloader_train))
            iterations += 1
            spent += now() - started
            if iterations % LOG_EVERY == 0:
                self.print_to_log_file(f"{spent:.0f} s, iteration {iterations}, loss {outcome['loss']:.4f}")
            if spent - saved > SAVE_EVERY:
                self.current_epoch = 1
                self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_latest.pth"))
                write_state(state, spent, iterations)
                saved = spent
        write_state(state, spent, iterations)
        self.current_epoch = 1
        self.on_train_end()

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """None: the test part is scored by ldseg."""
        del save_probabilities


def write_state(path: Path, spent: float, iterations: int) -> None:
    """What the training has come to, with the memory of its process and what it took of the card's."""
    memory = {"peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 3)}
    if torch.cuda.is_initialized():
        memory["peak_memory_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
    path.write_text(json.dumps({"spent": spent, "iterations": iterations, **memory}))
