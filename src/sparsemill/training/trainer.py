"""The trainer of sentence-transformers with our data order, checkpoints and nothing else changed."""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from sentence_transformers.sparse_encoder import SparseEncoderTrainer, SparseEncoderTrainingArguments
from torch.utils.data import DataLoader, Dataset
from transformers.trainer_callback import PrinterCallback

from sparsemill.study.models import Training
from sparsemill.training.schedule import Record

COMPLETE = "complete"
QUERY_TABLE = r"sub_modules\.query\.0\.weight$"
"""Matches the parameter of a learned query side."""
STATE = "encoder.safetensors"


def training_arguments(spec: Training, *, state: Path, seed: int, device: str) -> SparseEncoderTrainingArguments:
    """Translate the recipe for the trainer."""
    return SparseEncoderTrainingArguments(
        output_dir=str(state),
        max_steps=spec.steps,
        per_device_train_batch_size=spec.queries_per_step,
        learning_rate=spec.learning_rate,
        learning_rate_mapping={QUERY_TABLE: spec.query_learning_rate} if spec.query_side == "learned" else {},
        lr_scheduler_type="linear",
        optim="adamw_torch_fused",
        warmup_steps=spec.warmup_steps,
        weight_decay=spec.weight_decay,
        max_grad_norm=spec.max_grad_norm,
        bf16=spec.precision == "bf16",
        seed=seed,
        data_seed=seed,
        use_cpu=device == "cpu",
        save_strategy="steps",
        save_steps=spec.checkpoint_steps,
        save_total_limit=2,
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        dataloader_drop_last=True,
    )


class Trainer(SparseEncoderTrainer):  # type: ignore[misc]  # sentence-transformers is untyped
    """Reads records in the order of a schedule and keeps checkpoints as plain safetensors."""

    def __init__(self, *, schedule: Dataset[Record], **options: Any) -> None:
        self.schedule = schedule
        super().__init__(**options)
        self.remove_callback(PrinterCallback)

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        """All but biases, norms and the query table, so that a token of no training query keeps its weight."""
        return [name for name in super().get_decay_parameter_names(model) if not re.search(QUERY_TABLE, name)]

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Records in schedule order; several processes take turns, batch by batch."""
        self.accelerator.even_batches = False
        loader = DataLoader(
            self.schedule,
            batch_size=self.args.train_batch_size,
            collate_fn=self.data_collator,
            shuffle=False,
            drop_last=True,
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.model, str(folder / STATE))

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:
        load_model(self.model, Path(checkpoint_path) / STATE)

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        super()._save_checkpoint(*arguments, **options)
        (Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}" / COMPLETE).touch()


def last_checkpoint(state: Path) -> Path | None:
    """The newest checkpoint that was written to its end, or None."""
    found = [marker.parent for marker in state.glob(f"checkpoint-*/{COMPLETE}")]
    return max(found, key=lambda folder: int(folder.name.removeprefix("checkpoint-")), default=None)


def make_deterministic(seed: int) -> None:
    """Seed Python, NumPy and torch, and ask torch for deterministic kernels."""
    from transformers import set_seed

    set_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
