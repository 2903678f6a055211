"""The drawn faces: repeatable in any batching, true to their factors, anti-aliased, the same at every size."""

import numpy as np
import pytest

from vaegan.data.faces import FACTORS, draw_faces, face_factors
from vaegan.data.faces.canvas import Array
from vaegan.data.faces.drawing import render
from vaegan.data.faces.factors import CLOTHES, EYES, HATS, Faces, sample_faces
from vaegan.data.faces.features import EYE_LINE, MOUTH_LINE, mouth_place

SIGNED = {"smile", "gaze", "brows", "turn", "tilt"}


def replace(faces: Faces, **traits: Array) -> Faces:
    return Faces(**vars(faces) | traits)


def constant(faces: Faces, value: float) -> Array:
    return np.full_like(faces.turn, value)


def plain_faces(count: int) -> Faces:
    """Upright faces that look ahead, with nothing over the mouth or the eyes."""
    faces = sample_faces(count, seed=7)
    zero = {name: constant(faces, 0) for name in ("beard", "moustache", "glasses", "hat", "tilt", "turn", "eyes")}
    return replace(faces, **zero)


def pixel_rows(faces: Faces, down: float, size: int) -> np.ndarray:
    """The pixel row of each face at a height of the head."""
    y = faces.on_frame(0.0, down)[1][:, 0, 0]
    return np.round((y + 1) / 2 * size - 0.5).astype(int)


def test_the_same_seed_draws_the_same_faces_and_another_seed_others() -> None:
    first = draw_faces(5, seed=3)
    np.testing.assert_array_equal(first, draw_faces(5, seed=3))
    other = draw_faces(5, seed=4)
    assert all(np.abs(first[i].astype(int) - other[i]).mean() > 5 for i in range(5))


@pytest.mark.parametrize(("start", "count"), [(0, 3), (93, 6), (96, 1), (190, 4)])
def test_a_face_depends_on_its_index_only(start: int, count: int) -> None:
    everything, factors = draw_faces(200, seed=1), face_factors(200, seed=1)
    np.testing.assert_array_equal(draw_faces(count, seed=1, start=start), everything[start : start + count])
    for name, values in face_factors(count, seed=1, start=start).items():
        np.testing.assert_array_equal(values, factors[name][start : start + count], err_msg=name)


@pytest.mark.parametrize("size", [16, 28, 64, 100])
def test_shape_type_and_range(size: int) -> None:
    faces = draw_faces(6, size=size)
    assert faces.shape == (6, size, size, 3)
    assert faces.dtype == np.uint8
    assert faces.std() > 30


def test_nothing_to_draw_is_an_empty_array() -> None:
    assert draw_faces(0).shape == (0, 64, 64, 3)
    assert face_factors(0)["smile"].shape == (0,)


def test_factors_lie_in_their_ranges_and_every_category_occurs() -> None:
    factors = face_factors(8300)
    assert list(factors) == list(FACTORS)
    for name, words in FACTORS.items():
        values = factors[name]
        assert values.dtype == np.float32, name
        assert values.shape == (8300,), name
        if words is None:
            low = -1 if name in SIGNED else 0
            assert low <= values.min(), name
            assert values.max() <= 1, name
            assert values.std() > 0.15, name
        else:
            counts = np.bincount(values.astype(int), minlength=len(words))
            assert len(counts) == len(words), name
            assert counts.min() >= 80, (name, dict(zip(words, counts, strict=True)))


def test_shares_and_agreement_of_factors() -> None:
    factors = face_factors(8300, seed=2)
    np.testing.assert_array_equal(factors["smiling"] > 0, factors["smile"] > 0.2)
    assert 0.47 < factors["smiling"].mean() < 0.53
    assert 0.22 < factors["glasses"].mean() < 0.28
    assert factors["age"][factors["beard"] > 0].min() > 0.3
    assert factors["softness"][factors["beard"] > 0].max() < 0.55


def test_all_traits_are_float32() -> None:
    faces = sample_faces(4)
    assert [name for name, trait in vars(faces).items() if trait.dtype != np.float32] == []


def test_no_two_faces_are_alike() -> None:
    small = draw_faces(300, size=16).reshape(300, -1).astype(np.float32)
    squares = (small**2).sum(1)
    distances = squares[:, None] + squares[None] - 2 * small @ small.T
    np.fill_diagonal(distances, np.inf)
    assert np.sqrt(distances.min() / small.shape[1]) > 8


def test_the_smile_moves_the_mouth_and_nothing_else() -> None:
    faces = plain_faces(24)
    happy = render(replace(faces, smile=constant(faces, 0.9)), 64).astype(int)
    sad = render(replace(faces, smile=constant(faces, -0.9)), 64).astype(int)
    changed = np.abs(happy - sad).max(axis=3) > 24
    top, bottom = pixel_rows(faces, MOUTH_LINE - 0.16, 64), pixel_rows(faces, MOUTH_LINE + 0.30, 64)
    assert (changed.sum(axis=(1, 2)) >= 15).all()
    for face, upper, lower in zip(changed, top, bottom, strict=True):
        assert not face[:upper].any()
        assert not face[lower:].any()
        assert not face[:, :16].any()
        assert not face[:, -16:].any()


def test_a_smile_is_seen_in_eyes_and_cheeks_and_whoever_frowns_does_not_differ_there() -> None:
    faces = sample_faces(3000, seed=5)
    for name, sign, least in (("openness", -1, 0.2), ("blush", 1, 0.2)):
        trait, smiles = getattr(faces, name)[:, 0, 0] * sign, faces.smile[:, 0, 0]
        assert trait[smiles > 0.2].mean() - trait[smiles < 0.2].mean() > least, name
        assert abs(trait[smiles < -0.3].mean() - trait[(smiles > -0.3) & (smiles < 0.2)].mean()) < 0.03, name


def test_a_smile_has_its_corners_up_and_a_frown_down() -> None:
    faces = plain_faces(16)
    faces = replace(faces, mouth_open=constant(faces, 0), lips=constant(faces, 0), skin_rgb=np.ones_like(faces.skin_rgb))
    happy, sad = (render(replace(faces, smile=constant(faces, smile)), 128).astype(float).mean(axis=3) for smile in (0.8, -0.8))
    x = np.round((faces.on_frame(*mouth_place(faces)[:2])[0][:, 0, 0] + 1) * 64 - 0.5).astype(int)
    for darker, sign in ((sad - happy > 60, 1), (happy - sad > 60, -1)):
        for picture, column in zip(darker, x, strict=True):  # the mouth alone: all else is in both
            heights = np.arange(len(picture))
            middle, left = (
                (band.sum(axis=1) * heights).sum() / band.sum()
                for band in (picture[:, column - 1 : column + 2], picture[:, column - 12 : column - 9])
            )
            assert (middle - left) * sign > 2


def test_glasses_darken_the_eyes() -> None:
    faces = plain_faces(16)
    faces = replace(faces, skin_rgb=np.ones_like(faces.skin_rgb) * 0.9)
    without, with_glasses = (render(replace(faces, glasses=constant(faces, worn)), 64).astype(int) for worn in (0, 1))
    darker = (without - with_glasses).max(axis=3) > 60
    assert (darker.sum(axis=(1, 2)) > 30).all()
    for face, row in zip(darker, pixel_rows(faces, EYE_LINE, 64), strict=True):
        assert not face[: row - 10].any()
        assert not face[row + 11 :].any()


@pytest.mark.parametrize(
    ("name", "words"), [("hat", HATS), ("eyes", EYES), ("clothes", CLOTHES), ("hair_style", FACTORS["hair_style"])]
)
def test_every_word_of_a_category_looks_different(name: str, words: tuple[str, ...]) -> None:
    faces = plain_faces(24)
    pictures = [render(replace(faces, **{name: constant(faces, code)}), 64).astype(int) for code in range(len(words))]
    for code, picture in enumerate(pictures):
        for other in range(code):
            difference = (np.abs(picture - pictures[other]).max(axis=3) > 30).sum(axis=(1, 2))
            assert np.median(difference) >= 4, (words[code], words[other])


def test_edges_are_anti_aliased() -> None:
    """The outline of a black disc of hair on white: many levels between, and the right area."""
    faces = plain_faces(1)
    white, black = np.ones_like(faces.skin_rgb), np.zeros_like(faces.skin_rgb)
    faces = replace(
        faces, hair_rgb=black, tips_rgb=black, background_rgb=white, backdrop_rgb=white, hair_style=constant(faces, 11)
    )
    column = render(faces, 64)[0, :24].astype(int).mean(axis=2)
    between = np.unique(column[(column > 40) & (column < 200)].round())
    assert len(between) >= 15


@pytest.mark.parametrize("size", [16, 64])
def test_a_reduced_larger_picture_is_near_the_smaller_one(size: int) -> None:
    small, large = draw_faces(24, size=size), draw_faces(24, size=2 * size)
    reduced = large.reshape(24, size, 2, size, 2, 3).mean(axis=(2, 4))
    assert np.abs(reduced - small).mean() < 2.0
    assert np.abs(reduced - small).mean(axis=(1, 2, 3)).max() < 3.5
