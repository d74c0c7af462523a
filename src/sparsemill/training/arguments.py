"""What every training tells the trainer of transformers."""

from pathlib import Path
from typing import Any

from sparsemill.study.models import CrossEncoderTraining, Training


def shared_arguments(spec: Training | CrossEncoderTraining, *, state: Path, seed: int, device: str) -> dict[str, Any]:
    """Fused AdamW with linear decay; nothing but checkpoints is written.

    Args:
        spec: the recipe.
        state: folder of checkpoints.
        seed: of the model and of the data.
        device: `cpu` or `cuda`.
    """
    return {
        "output_dir": str(state),
        "max_steps": spec.steps,
        "learning_rate": spec.learning_rate,
        "lr_scheduler_type": "linear",
        "optim": "adamw_torch_fused",
        "warmup_steps": spec.warmup_steps,
        "weight_decay": spec.weight_decay,
        "max_grad_norm": spec.max_grad_norm,
        "bf16": spec.precision == "bf16",
        "seed": seed,
        "data_seed": seed,
        "use_cpu": device == "cpu",
        "save_strategy": "steps",
        "save_steps": spec.checkpoint_steps,
        "save_total_limit": 2,
        "logging_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
