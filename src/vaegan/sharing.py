"""Before a model leaves this machine: does it copy its training images; and the way to the Hugging Face Hub."""

import json
import math
from pathlib import Path
from typing import Any, cast

from vaegan.errors import RequestError, VaeganError
from vaegan.extras import need

COPIES = 0.65
"""P[a sample is nearer to the training images than to as many held-out ones] above which a model copies; 0.5 is right."""
MAXIMUM_BYTES = 50_000_000


def copying_warning(model_folder: Path | None, stage: str) -> str | None:
    """A sentence for whoever is about to share a model whose samples are near copies of its training images.

    Args:
        model_folder: of the model, inside its run; None for a model that was never on disk.
        stage: of the model.

    Returns:
        None if `vaegan evaluate` found no copying, or was never asked.
    """
    score = None if model_folder is None else _copying(model_folder.resolve().parent.parent / "evaluation.json", stage)
    if score is None or score <= COPIES:
        return None
    return (
        f"This model copies: its samples are nearer to training images than to as many others {score:.0%} of the time (50% would "
        "be right). Sharing it may share them; look at the nearest neighbours in the run's report first."
    )


def _copying(path: Path, stage: str) -> float | None:
    """The highest of the stage's copying scores; an evaluation that cannot be read warns of nothing."""
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            return None
        values: Any = json.loads(path.read_text("utf-8"))
        scores = cast(dict[str, dict[str, Any]], values["stages"][stage])
        found = [float(score["value"]) for name, score in scores.items() if name.startswith("copying")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return max((score for score in found if math.isfinite(score)), default=None)


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
