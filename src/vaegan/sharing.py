"""Before a model leaves this machine: does it copy its training images; and the way to the Hugging Face Hub."""

import json
from pathlib import Path
from typing import Any

from vaegan.errors import RequestError, VaeganError
from vaegan.extras import need

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


def check_hub() -> None:
    """Raises RequestError if the extra [hub] is missing."""
    need("hub", "huggingface_hub", purpose="Sharing on the Hugging Face Hub")


def upload(folder: Path, repository: str, private: bool, token: str | None) -> str:
    """Uploads a folder as a model repository, which is made if it does not exist; returns its address.

    Raises:
        RequestError: if the extra [hub] is missing or the name is none.
        VaeganError: if the Hub cannot be reached or refuses.
    """
    check_hub()
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
