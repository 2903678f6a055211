"""The model card: what the Hub's parser reads from it, what it keeps of its owner's, and that no data are in it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard

from vaegan.config import NetworkConfig, TrainConfig
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.training.card import BEGIN, model_card, refresh_cards
from vaegan.training.run import RunFolder, RunRecord, StagePlan

NETWORK = NetworkConfig(latent_dim=4, width=4, width_limit=8)
CONFIG = ModelConfig(16, 3, "gan", NETWORK)
FACTS = {"images": 4000, "heldout": {"heldout_pair_accuracy": 0.9, "odd": float("nan")}}


def record(**changes: Any) -> RunRecord:
    values: dict[str, Any] = {
        "source": "/home/me/secret holiday",
        "config": TrainConfig(network=NETWORK),
        "seconds_target": None,
        "plan": (StagePlan("vae", 4000), StagePlan("gan", 4000)),
        "init": None,
        "fingerprint": "0123456789abcdef0123456789abcdef",
        "precision": "float32",
        "facts": {"data": {"images": 8300, "channels": 3}, "gan": FACTS},
    }
    return RunRecord(**(values | changes))


def evaluation() -> dict[str, Any]:
    score = {"value": 0.36, "interval": [0.33, 0.39], "n": 1700, "features": 'random "64"\n: x'}
    scores = {"kernel_distance": score, "elbo": {"value": None, "interval": None, "n": 3, "features": None}}
    return {
        "format_version": 2,
        "fingerprint": "0123456789abcdef0123456789abcdef",
        "reference": {"side": "test", "count": 421},
        "stages": {"gan": scores},
        "floor": {"kernel_distance": score | {"value": 0.012}},
        "verdict": ["Sharper than the VAE.", "Less varied.", "No sign of copying."],
    }


def test_the_hub_reads_the_metrics_with_their_conditions() -> None:
    card = ModelCard(model_card(CONFIG, record(), FACTS, evaluation()))
    assert card.data.library_name == "vaegan"
    assert card.data.license == "unknown"
    assert card.data.pipeline_tag == "unconditional-image-generation"
    (result,) = card.data.eval_results
    assert result.metric_value == 0.36
    assert result.metric_type == "kernel_distance"
    assert result.metric_args == {"n": 1700, "features": 'random "64"\n: x', "interval": [0.33, 0.39]}
    assert result.dataset_split == "test"
    assert result.dataset_revision == record().fingerprint
    assert "1,700" in result.metric_name


def test_a_finished_vaes_card_says_what_its_samples_are_drawn_from() -> None:
    vae = ModelConfig(16, 3, "vae", NETWORK)
    said = "drawn from the mixture of Gaussians fitted to the encoded training images"
    assert said in model_card(vae, record(), FACTS, None)
    assert said not in model_card(vae, record(), {"images": 4000}, None)  # it still learns, and has no mixture
    assert said not in model_card(CONFIG, record(), FACTS, None)


def test_the_text_names_data_configuration_and_limits_but_not_the_place_of_the_images() -> None:
    text = model_card(CONFIG, record(), FACTS, evaluation())
    for words in (
        "8,300 images",
        record().fingerprint,
        "| network: latent dim | 4 | `--network.latent-dim` |",
        "| pair accuracy | 0.9 | How often the critic finds the real one in a pair.",
        "4,000 images seen",
        "Licence",
        "Limits",
        "0.012",
    ):
        assert words in text
    assert "No sign of copying." in text
    assert not {"None", "True", "False", "heldout_pair_accuracy"} & set(text.split())
    assert "secret" not in text
    assert "nan" not in text.split("Configuration")[0].replace("network", "")
    assert "Not evaluated" in model_card(CONFIG, record(), FACTS)
    assert "went on" in model_card(CONFIG, record(), {"images": 8})


def test_what_the_owner_wrote_is_kept() -> None:
    first = model_card(CONFIG, record(), FACTS)
    edited = first.replace("license: unknown # the owner of the model decides", "license: cc-by-4.0\ndatasets:\n- me/faces")
    edited = edited.replace(BEGIN, f"My preface.\n\n{BEGIN}") + "\nMy afterword.\n"
    again = model_card(CONFIG, record(), FACTS, evaluation(), old=edited)
    twice = model_card(CONFIG, record(), FACTS, evaluation(), old=again)
    assert again == twice
    card = ModelCard(again)
    assert card.data.license == "cc-by-4.0"
    assert card.data.datasets == ["me/faces"]
    assert len(card.data.eval_results) == 1
    assert "My preface." in again
    assert "My afterword." in again
    assert again.count("## Training data") == 1
    assert not ModelCard(model_card(CONFIG, record(), FACTS, old=again)).data.eval_results
    assert model_card(CONFIG, record(), FACTS, old="# All mine\n") == "# All mine\n"


@pytest.mark.parametrize("stage", ["ae", "vae", "gan"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_model_has_a_card(stage: Any, channels: int) -> None:
    config = ModelConfig(28, channels, stage, NETWORK, has_encoder=stage != "gan")
    text = model_card(config, record(source="faces:500"), {})
    assert ModelCard(text).data.tags == ["vaegan", stage, "image-generation"]
    assert "drawn by vaegan" in text
    assert ("model.encode" in text) == (stage != "gan")


def test_a_foreign_name_stays_a_cell_of_the_table() -> None:
    found = evaluation()
    found["stages"]["gan"]["kernel_distance"]["features"] = "a|b<script>`_c_\n## d"
    text = model_card(CONFIG, record(), FACTS, found).split("\n---\n")[1]
    (row,) = (line for line in text.splitlines() if line.startswith("| kernel distance"))
    assert row.count("|") == 7
    assert "a&#124;b&#60;script&#62;&#96;&#95;c&#95;&#92;n&#35;&#35; d |" in row
    assert "<script>" not in text


def test_a_new_evaluation_is_brought_into_the_cards(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    torch.manual_seed(0)
    Model(CONFIG, Networks(CONFIG)).save_pretrained(folder.model("gan"), model_card(CONFIG, record(), FACTS))
    folder.write(record())
    refresh_cards(folder, evaluation())
    text = (folder.model("gan") / "README.md").read_text("utf-8")
    assert ModelCard(text).data.eval_results
