"""Silence what libraries print that a person cannot act on."""

import os
import warnings


def quiet_libraries() -> None:
    """Turn off loading bars and load reports of transformers, and its advice; errors still show."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*use_reentrant.*|.*lr_scheduler.step.*")
