"""The trainer of sentence-transformers with our data order, checkpoints and nothing else changed."""

import logging
import math
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from sentence_transformers.sparse_encoder import SparseEncoderTrainer, SparseEncoderTrainingArguments
from torch.utils.data import DataLoader, Dataset
from transformers.trainer_callback import PrinterCallback

from sparsemill.errors import UserError
from sparsemill.study.models import Training
from sparsemill.training import processes
from sparsemill.training.arguments import shared_arguments
from sparsemill.training.checkpoints import mark_complete
from sparsemill.training.grad_cache import cached_backward
from sparsemill.training.schedule import Record

QUERY_TABLE = r"sub_modules\.query\.0\.weight$"
"""Matches the parameter of a learned query side."""
logger = logging.getLogger(__name__)

STATE = "encoder.safetensors"


def training_arguments(spec: Training, *, state: Path, seed: int, device: str) -> SparseEncoderTrainingArguments:
    """Translate the recipe for the trainer.

    Raises:
        UserError: queries cannot be shared evenly, or are left with nothing to compare, or the device has no such
            precision.
    """
    parts = processes.count() * spec.accumulation
    if spec.queries_per_step % parts:
        raise UserError(
            f"queries_per_step: {spec.queries_per_step} cannot be shared by {processes.count()} processes with "
            f"accumulation {spec.accumulation}; make it a multiple of {parts}"
        )
    if spec.documents_per_query == 1 and not spec.gather and spec.queries_per_step == parts:
        raise UserError(
            f"documents_per_query: 1 leaves each of {parts} processes one document, and nothing to compare it with; "
            "use fewer processes, or gather: true"
        )
    if spec.precision == "fp16" and device == "cpu":
        raise UserError("precision: fp16 needs a GPU; use bf16 or fp32 on a CPU")
    return SparseEncoderTrainingArguments(
        **shared_arguments(spec, state=state, seed=seed, device=device),
        per_device_train_batch_size=spec.queries_per_step // parts,
        gradient_accumulation_steps=spec.accumulation,
        learning_rate_mapping={QUERY_TABLE: spec.query_learning_rate} if spec.query_side == "learned" else {},
        fp16=spec.precision == "fp16",
        ddp_find_unused_parameters=False,  # a step has two forward passes, and each would call the other's unused
        ddp_broadcast_buffers=False,  # positions, the same everywhere; writing them would break the first pass's graph
        dataloader_drop_last=True,
    )


def warn_of_devices(spec: Training) -> None:
    """Say so where the result depends on the number of devices."""
    if spec.in_batch != "none" and not spec.gather and processes.count() > 1 and processes.number() == 0:
        logger.warning(
            "gather is false: in-batch rows hold the documents of %d queries, those of their own device, and not of %d",
            spec.queries_per_step // processes.count(),
            spec.queries_per_step,
        )


class Trainer(SparseEncoderTrainer):  # type: ignore[misc]  # sentence-transformers is untyped
    """Reads records in the order of a schedule and keeps checkpoints as plain safetensors.

    Args:
        schedule: all records in order.
        grad_cache: rows of a mini-batch of GradCache, or None.
        options: of the trainer of sentence-transformers.
    """

    def __init__(self, *, schedule: Dataset[Record], grad_cache: int | None = None, **options: Any) -> None:
        self.schedule, self.grad_cache = schedule, grad_cache
        super().__init__(**options)
        self.remove_callback(PrinterCallback)

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        """All but biases, norms and the query table, so that a token of no training query keeps its weight."""
        return [name for name in super().get_decay_parameter_names(model) if not re.search(QUERY_TABLE, name)]

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Records in schedule order; several processes get the same ones, and the collator takes its share."""
        return DataLoader(
            self.schedule,
            batch_size=self.args.train_batch_size * processes.count(),
            collate_fn=self.data_collator,
            shuffle=False,
            drop_last=True,
        )

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Forward and backward of a micro-batch; returns the loss, detached."""
        if self.grad_cache is None:
            loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
            return loss
        model.train()
        features, labels = self.collect_features(self._prepare_inputs(inputs))
        self.loss.model = model  # wrapped for several processes
        with self.accelerator.no_sync(model):  # the encoder is run many times: gradients are averaged once, below
            loss = cached_backward(
                features,
                size=self.grad_cache,
                represent=self.loss.represent,
                loss=lambda *vectors: torch.stack(list(self.loss.terms(*vectors, labels).values())).sum(),
                backward=self.accelerator.backward,
            )
        processes.average_gradients(model)
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)
        scaler = self.accelerator.scaler
        if scaler is not None and not math.isfinite(norm) and scaler.get_scale() > 1:
            self.loss.gradient_norm = None  # overflow at this loss scale: the scaler skips the step and lowers it
        else:
            self.loss.gradient_norm = float(norm)
        return norm

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.model, str(folder / STATE))

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:
        load_model(self.model, Path(checkpoint_path) / STATE)

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        super()._save_checkpoint(*arguments, **options)
        processes.wait()
        if processes.number() == 0:
            mark_complete(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")


def make_deterministic(seed: int) -> None:
    """Seed Python, NumPy and torch, and ask torch for deterministic kernels."""
    from transformers import set_seed

    set_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # It would fill every new tensor with NaN, to betray kernels that read what they did not write: a tenth of a step.
    deterministic: Any = torch.utils.deterministic
    deterministic.fill_uninitialized_memory = False
