"""Before a model leaves this machine: does it copy its training images; and the way to the Hugging Face Hub."""

import json
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any, Protocol

from vaegan.errors import RequestError, VaeganError
from vaegan.extras import need
from vaegan.model_files import CARD_PICTURE, ModelConfig

_MOST_EVALUATION_BYTES = 50_000_000


def copying_warning(model_folder: Path | None, stage: str) -> str | None:
    """A sentence for whoever is about to share a model whose samples are near copies of its training images.

    None if `vaegan evaluate` found no copying or did not run, or if the model has no folder or its evaluation cannot be read.
    """
    if model_folder is None:
        return None
    path = model_folder.resolve().parent.parent / "evaluation.json"
    try:
        if path.stat().st_size > _MOST_EVALUATION_BYTES:
            return None
        values: Any = json.loads(path.read_text("utf-8"))
        found = values["copies"][stage]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(found, str):
        return None
    return (
        f"Of this model's samples: {found} Sharing it may share training images; look at the report's nearest neighbours first."
    )


class Saved(Protocol):
    """What sharing asks of a model."""

    config: ModelConfig

    def save_pretrained(self, folder: str | Path, card: str | None = None) -> None:
        """Writes its files."""
        ...


def share(model: Saved, saved: Path | None, repository: str, private: bool, token: str | None, card: str | None) -> str:
    """Uploads the files of `save_pretrained`, with the card and the picture that lie in `saved`; returns the address."""
    need("hub", "huggingface_hub", purpose="Sharing on the Hugging Face Hub")
    if (warning := copying_warning(saved, model.config.stage)) is not None:
        warnings.warn(warning, stacklevel=3)
    if card is None and saved is not None and (saved / "README.md").is_file():
        card = (saved / "README.md").read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, card)
        if saved is not None and (saved / CARD_PICTURE).is_file():
            shutil.copy(saved / CARD_PICTURE, folder)
        return upload(Path(folder), repository, private, token)


def upload(folder: Path, repository: str, private: bool, token: str | None) -> str:
    """Uploads a folder as a model repository, which is made if it does not exist; returns its address."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    try:
        hub = HfApi(token=token, library_name="vaegan")
        made = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message="A model made with vaegan")
    except HFValidationError as error:
        raise RequestError(f"{repository!r} is no name of a repository on the Hub; give NAME or OWNER/NAME.") from error
    except Exception as error:  # the Hub's own errors, and those of whichever HTTP library its version uses
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise VaeganError(
            f"Not shared as {repository}: {reason[:200]} (is there a network, and a login: hf auth login?)"
        ) from error
    return str(made)
