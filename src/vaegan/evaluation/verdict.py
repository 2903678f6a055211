"""The verdict: three plain sentences made from the numbers, for somebody who reads no table."""

from typing import Any

Numbers = dict[str, dict[str, Any]]

AS_GOOD = 0.1  # [share] a ratio this near to 1 is called right
SLIGHT, CLEAR = 0.25, 0.6


def verdict(stages: dict[str, Numbers], floor: Numbers) -> list[str]:
    """Three sentences: how samples look, how varied they are, whether they are copies.

    Args:
        stages: numbers of each stage as in evaluation.json; the last one is judged.
        floor: the same for real images.
    """
    name = list(stages)[-1]
    judged, others = stages[name], [stages[other] for other in list(stages)[:-1]]
    return [looks(judged, others[0] if others else None), variety(judged, floor), copying(judged)]


def looks(judged: Numbers, before: Numbers | None) -> str:
    """How sharp and clean samples are."""
    sharpness = _value(judged, "sharpness")
    if sharpness is None:
        return "How samples look cannot be said: there are too few held-out images."
    parts: list[str] = []
    earlier = _value(before or {}, "sharpness")
    if earlier is not None and abs(1 - sharpness) < abs(1 - earlier) and sharpness > 1.2 * earlier:
        parts.append("sharper than the VAE's")
    parts.append(_sharpness(sharpness))
    texture = max((_value(judged, f"texture_{period}") or 1.0) for period in (2, 4))
    if texture > 3:
        parts.append(f"with a visible grid of upsampling ({texture:.0f} times the real power at 2 or 4 pixels)")
    elif texture > 1.5:
        parts.append("with a faint grid of upsampling")
    told = _value(judged, "two_sample_accuracy")
    sentence = "The samples are " + _listed(parts)
    if told is not None:
        sentence += f"; a simple classifier tells them from real images {told:.0%} of the time (50% is guessing)"
    return sentence + "."


def _sharpness(value: float) -> str:
    off = abs(value - 1)
    if off <= AS_GOOD:
        return "as sharp as real images"
    kind = "blurred" if value < 1 else "noisy"
    degree = "slightly " if off <= SLIGHT else "" if off <= CLEAR else "very "
    return f"{degree}{kind} ({value:.2f} of the real detail)"


def variety(judged: Numbers, floor: Numbers) -> str:
    """How much of the data's variety samples show."""
    coverage, best = _value(judged, "coverage"), _value(floor, "coverage")
    spread, duplicates = _value(judged, "variety"), _value(judged, "duplicates")
    if coverage is None or spread is None:
        return "How varied samples are cannot be said: there are too few held-out images."
    relative = spread / (_value(floor, "variety") or 1.0)
    if abs(relative - 1) <= 0.05:
        first = "They are as varied as the data"
    else:
        first = f"They are {abs(1 - relative):.0%} {'less' if relative < 1 else 'more'} varied than the data"
    missing = 1 - coverage / (best or 1.0)
    if missing <= 0.05:
        second = "nearly every kind of real image has a sample near"
    else:
        second = f"{missing:.0%} of the real images have no sample near"
    third = ""
    if duplicates is not None and duplicates > max(5.0, 2 * (_value(floor, "duplicates") or 1.0)):
        third = f", and they repeat themselves: look-alikes are {duplicates:.0f} times as frequent as among real images"
    return f"{first}; {second}{third}."


def copying(judged: Numbers) -> str:
    """Whether samples are copies."""
    number = judged.get("copying")
    if number is None:
        return (
            "Whether they are copies of training images cannot be said: the training or held-out images are missing or too few."
        )
    coverage = _value(judged, "coverage")
    value, low = number["value"], (number["interval"] or [number["value"]])[0]
    if coverage is not None and coverage < 0.5:
        return "Whether they are copies cannot be said yet: the samples are too far from all real images."
    if low > 0.65:
        nearer = f"{value:.0%} of them are nearer to the training images than to as many unseen ones"
        return f"They copy: {nearer} (50% is right)."
    if low > 0.5:
        return f"There is a weak sign of copying ({value:.0%}, where 50% is right): look at the nearest neighbours."
    return f"There is no sign of copying training images ({value:.0%}, where 50% is right)."


def _value(numbers: Numbers, name: str) -> float | None:
    return numbers[name]["value"] if name in numbers else None


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + (" " if parts[-1].startswith("with ") else ", ") + parts[-1]
