"""The verdict: three plain sentences made from the numbers, for somebody who reads no table."""

from typing import Any

Numbers = dict[str, dict[str, Any]]

AS_GOOD = 0.1  # [share] a ratio this near to 1 is called right
SLIGHT, CLEAR = 0.25, 0.6
VISIBLE_GRID = 3.0  # times the real power
GRAINY = 0.5  # [share] of the real flat areas: under it even skin and sky look rough
ALIKE = 5.0  # times as alike in details as real images: the eye finds the strokes that samples side by side share
MANY_MISSING = 0.2  # [share] of real images without a sample near, beyond those that training images leave out
COPIES = 0.65
NEAR, FAR = 0.5, 1.5  # times as far from training images as unseen images are: of copies, and where copying says nothing
UNLIKE = 0.5  # precision below which samples are no images of this kind, so that copying says nothing
WHO = {"ae": "autoencoder", "vae": "VAE", "gan": "GAN", "joint": "VAE/GAN"}


def verdict(stages: dict[str, Numbers], floor: Numbers) -> list[str]:
    """Three sentences: how samples of the last stage look, how varied they are, whether they are copies."""
    name = list(stages)[-1]
    judged, others = stages[name], [stages[other] for other in list(stages)[:-1]]
    return [looks(name, judged, others[0] if others else None, floor), variety(judged, floor), copying(judged)]


def wants_training(stages: dict[str, Numbers], floor: Numbers) -> bool:
    """Whether more training is what to try first: the last stage's samples look wrong or miss kinds of image, and are no copies.

    Blur does not count against a VAE or an autoencoder, which stay blurred.
    """
    name = list(stages)[-1]
    judged = stages[name]
    sharpness, coverage = _sharpness(judged, floor), _value(judged, "coverage")
    wrong = sharpness is not None and (abs(sharpness - 1) > SLIGHT or _texture(judged) > VISIBLE_GRID)
    missing = coverage is not None and (_value(floor, "coverage") or 1.0) - coverage > MANY_MISSING
    return ((wrong and name in ("gan", "joint")) or missing) and not copies_images(judged)


def copies_images(judged: Numbers) -> bool:
    """Whether a stage's samples are copies of training images beyond doubt, as `copying` says it."""
    number = judged.get("copying")
    return _near(judged) or (number is not None and not _far(judged) and (number["interval"] or [number["value"]])[0] > COPIES)


def looks(name: str, judged: Numbers, before: Numbers | None, floor: Numbers) -> str:
    """How sharp and clean samples of the stage are."""
    sharpness = _sharpness(judged, floor)
    if sharpness is None:
        return f"How samples of the {WHO[name]} look cannot be said: there are too few held-out images."
    parts: list[str] = []
    earlier = _sharpness(before or {}, floor)
    if earlier is not None and abs(1 - sharpness) < abs(1 - earlier) and sharpness > 1.2 * earlier:
        still = "but still " if sharpness < 1 - AS_GOOD else "and "
        parts.append(f"sharper than the VAE's {still}{_how_sharp(sharpness)}")
    else:
        parts.append(_how_sharp(sharpness))
    texture = _texture(judged)
    if texture > VISIBLE_GRID:
        parts.append(f"with a visible grid of upsampling ({texture:.0f} times the real power at 2 or 4 pixels)")
    elif texture > 1.5:
        parts.append("with a faint grid of upsampling")
    flat = _value(judged, "flatness")
    if flat is not None and flat < GRAINY:
        parts.append(f"grainy where they should be even ({flat:.0%} of the real flat areas)")
    alike = _value(judged, "detail_likeness")
    if alike is not None and alike > ALIKE:
        parts.append(
            f"with the same fine strokes in all of them (details are {alike:.0f} times as alike as those of real images)"
        )
    accuracy = _value(judged, "two_sample_accuracy")
    sentence = f"Samples of the {WHO[name]} are {', '.join(parts)}"
    if accuracy is not None:
        sentence += f"; a simple classifier tells them from real images {accuracy:.0%} of the time (50% is guessing)"
    return sentence + "."


def _sharpness(numbers: Numbers, floor: Numbers) -> float | None:
    """Sharpness over that of as many training images: some twenty held-out ones may be sharper or softer than most."""
    value, of_training = _value(numbers, "sharpness"), _value(floor, "sharpness")
    return value if value is None or not of_training else value / of_training


def _how_sharp(value: float) -> str:
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
    of_real = _value(floor, "variety")
    relative, real = spread / (of_real or 1.0), "the same number of training images" if of_real else "real images"
    if abs(relative - 1) <= 0.05:
        first = f"They are as varied as {real}"
    else:
        first = f"They are {abs(1 - relative):.0%} {'less' if relative < 1 else 'more'} varied than {real}"
    if coverage >= 0.95 * (best or 1.0):
        second = "nearly every real image has a sample near, as far as these features tell"
    else:
        second = f"{1 - coverage:.0%} of unseen real images have no sample near"
        if best:
            second += f" (with training images in the samples' place it would be {1 - best:.0%})"
    third = ""
    if duplicates is not None and duplicates > max(5.0, 2 * (_value(floor, "duplicates") or 1.0)):
        third = f", and they repeat themselves: look-alikes are {duplicates:.0f} times as frequent as among real images"
    return f"{first}; {second}{third}."


def copying(judged: Numbers) -> str:
    """Whether samples are copies."""
    number = judged.get("copying")
    if number is None:
        return "Whether they are copies cannot be said: the training or held-out images are missing or too few."
    value, (low, high) = number["value"], number["interval"] or [number["value"]] * 2
    if _near(judged):
        distance = _value(judged, "neighbour_distance")
        return f"They copy: half of them are at most {distance:.2g} times as far from a training image as unseen images are."
    if _far(judged):
        return "Whether they are copies cannot be said yet: the samples are too far from all real images."
    if low > COPIES:
        nearer = f"{value:.0%} of them are nearer to the training images than to as many unseen ones"
        return f"They copy: {nearer} (50% is right)."
    if value > COPIES and low <= 0.5:
        return (
            f"Whether they are copies cannot be said: {value:.0%} of them are nearer to the training images than to as many "
            "unseen ones (50% is right), but so few different images are near them that it may be chance "
            f"({low:.0%} to {high:.0%})."
        )
    if low > 0.5:
        return f"There is a weak sign of copying ({value:.0%}, where 50% is right): look at the nearest neighbours."
    return f"There is no sign of copying training images ({value:.0%}, where 50% is right)."


def _near(judged: Numbers) -> bool:
    """Whether samples lie on training images, be they few: then neither coverage nor the interval of copying is needed."""
    distance, share = _value(judged, "neighbour_distance"), _value(judged, "copying")
    if distance is None or share is None or distance >= NEAR:
        return False
    # What is blurred enough is near everything, and as near to unseen images.
    return share > COPIES or (_value(judged, "sharpness") or 1.0) >= 1 - SLIGHT


def _far(judged: Numbers) -> bool:
    """Whether samples lie so far from all real images that one outlier among these is the nearest of all."""
    distance, precision = _value(judged, "neighbour_distance"), _value(judged, "precision")
    return (distance is not None and distance > FAR) or (precision is not None and precision < UNLIKE)


def _value(numbers: Numbers, name: str) -> float | None:
    return numbers[name]["value"] if name in numbers else None


def _texture(judged: Numbers) -> float:
    """The stronger of the two grids that upsampling leaves."""
    return max((_value(judged, f"texture_{period}") or 1.0) for period in (2, 4))
