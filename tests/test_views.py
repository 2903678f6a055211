"""What the critic sees, against scipy and numpy written out image by image."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from vaegan.parts.schedule import Clock
from vaegan.parts.views import Augmentation, View, draw_view, shifted, translate
from vaegan.randomness import Draws
from vaegan.shapes import Shape

SHAPE = Shape(16, 24)


def images(count: int = 6, shape: Shape = SHAPE, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, *shape, generator=Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def drawn(count: int = 6, probability: float = 1.0, flips: bool = True, seed: int = 0, shape: Shape = SHAPE) -> Augmentation:
    return Augmentation.draw(count, shape, probability, flips, Generator().manual_seed(seed))


def moved(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """A [channel, height, width] image shifted over grey, by slices."""
    height, width = image.shape[-2:]
    result = np.zeros_like(image)
    result[:, max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = image[
        :, max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)
    ]
    return result


def changed(image: np.ndarray, change: Augmentation, place: int) -> np.ndarray:
    """The same change for one image, in numpy."""
    x = (image - image.mean()) * float(change.contrast[place]) + image.mean() + float(change.brightness[place])
    x = x[:, :, ::-1] if bool(change.flip[place]) else x
    return moved(x, int(change.rows[place]), int(change.columns[place])) * change.keep[place].numpy()


@given(st.integers(-9, 9), st.integers(-9, 9))
def test_translate_is_slicing(down: int, right: int) -> None:
    x = images(2, Shape(8, 8))
    found = translate(x, torch.tensor([down, 0]), torch.tensor([right, 1]))
    inside = abs(down) < 8 and abs(right) < 8
    np.testing.assert_array_equal(found[0], moved(x[0].numpy(), down, right) if inside else np.zeros((3, 8, 8)))
    np.testing.assert_array_equal(found[1], moved(x[1].numpy(), 0, 1))


class TestAugmentation:
    def test_probability_zero_is_the_identity(self) -> None:
        x = images()
        torch.testing.assert_close(drawn(probability=0).apply(x), x, atol=1e-12, rtol=0)

    @pytest.mark.parametrize("probability", [0.3, 1.0])
    @pytest.mark.parametrize("seed", range(5))
    def test_is_the_change_written_out_for_each_image(self, probability: float, seed: int) -> None:
        x, change = images(seed=seed), drawn(probability=probability, seed=seed)
        wanted = np.stack([changed(image, change, place) for place, image in enumerate(x.numpy())])
        np.testing.assert_allclose(change.apply(x), wanted, atol=1e-6)

    def test_real_and_generated_image_at_one_place_get_the_same_change(self) -> None:
        """Every change is affine, so the change of a mean is the mean of the changes: only if both are the same."""
        change, real, fake = drawn(), images(seed=1), images(seed=2)
        torch.testing.assert_close(change.apply((real + fake) / 2), (change.apply(real) + change.apply(fake)) / 2)

    def test_images_at_different_places_get_different_changes(self) -> None:
        same = images(1).expand(6, -1, -1, -1)
        out = drawn().apply(same)
        assert all(not torch.allclose(out[i], out[j]) for i in range(6) for j in range(i))

    @pytest.mark.parametrize("part", [slice(0, 3), slice(1, None, 2), slice(0, None, 2)])
    def test_part_is_slicing(self, part: slice) -> None:
        x, change = images(), drawn()
        torch.testing.assert_close(change.part(part).apply(x[part]), change.apply(x)[part])

    def test_draw_depends_on_its_generator_alone(self) -> None:
        x = images()
        assert torch.equal(drawn(seed=3).apply(x), drawn(seed=3).apply(x))
        assert not torch.equal(drawn(seed=3).apply(x), drawn(seed=4).apply(x))

    def test_flips_only_where_allowed(self) -> None:
        assert not drawn(500, flips=False).flip.any()
        assert float(drawn(4000).flip.float().mean()) == pytest.approx(0.5, abs=0.04)

    @pytest.mark.parametrize("probability", [0.1, 0.3, 1.0])
    def test_each_kind_happens_with_its_probability(self, probability: float) -> None:
        change = drawn(4000, probability)
        for happened in (
            change.brightness != 0,
            change.contrast != 1,
            (change.keep == 0).flatten(1).any(1),
            (change.rows != 0) * (1 + 1 / 4),  # a shift of one to five places is 0 by chance
        ):
            assert float(happened.float().mean()) == pytest.approx(probability, abs=0.03)
        assert float(change.flip.float().mean()) == pytest.approx(probability / 2, abs=0.03)

    def test_kinds_are_independent_of_each_other(self) -> None:
        change = drawn(8000, 0.3)
        both = (change.brightness != 0) & (change.contrast != 1)
        assert float(both.float().mean()) == pytest.approx(0.09, abs=0.015)

    def test_ranges(self) -> None:
        change = drawn(4000, shape=Shape(32, 32))
        assert (int(change.rows.min()), int(change.rows.max())) == (-4, 4)
        assert (int(change.columns.min()), int(change.columns.max())) == (-4, 4)
        assert float(change.rows.float().mean()) == pytest.approx(0, abs=0.15)
        assert change.brightness.abs().max() <= 0.5
        assert change.contrast.min() >= 0.5
        assert change.contrast.max() <= 1.5

    def test_cutout_covers_seven_sixteenths_of_each_side_on_average(self) -> None:
        """A hole of half the side about a uniform centre loses (side/4)^2 / side at the two borders together."""
        hole = (drawn(4000, shape=Shape(32, 32)).keep == 0).float().flatten(1).mean(1)
        assert hole.max() <= 0.25
        assert hole.min() >= 0.05
        assert float(hole.mean()) == pytest.approx((7 / 16) ** 2, rel=0.05)

    def test_gradients_flow_through_every_change(self) -> None:
        change = drawn(2, shape=Shape(8, 8))
        assert torch.autograd.gradcheck(change.apply, images(2, Shape(8, 8))[:, :1].requires_grad_())


class TestShifted:
    @pytest.mark.parametrize(("down", "right"), [(0, 0), (3, 0), (0, 2), (1, 3), (-2, 4)])
    def test_repeats_the_border(self, down: int, right: int) -> None:
        x = images(2)
        around = np.pad(x.numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)), mode="edge")
        wanted = around[:, :, 4 - down : 4 - down + SHAPE.height, 4 - right : 4 - right + SHAPE.width]
        np.testing.assert_array_equal(shifted(x, torch.tensor([down] * 2), torch.tensor([right] * 2)), wanted)

    def test_moves_every_image_by_its_own(self) -> None:
        x, rows, columns = images(3), torch.tensor([0, 1, 3]), torch.tensor([2, 0, 1])
        together = shifted(x, rows, columns)
        for place in range(3):
            part = slice(place, place + 1)
            torch.testing.assert_close(together[part], shifted(x[part], rows[part], columns[part]))


class TestView:
    def test_moves_and_then_changes(self) -> None:
        x, change = images(), drawn()
        jitter = torch.tensor([[0, 1, 2, 3, 0, 2], [3, 0, 1, 2, 0, 0]])
        torch.testing.assert_close(View(change, jitter)(x), change.apply(shifted(x, *jitter)))
        torch.testing.assert_close(View(change)(x), change.apply(x))
        torch.testing.assert_close(View(None, jitter)(x), shifted(x, *jitter))

    def test_without_anything_is_the_identity(self) -> None:
        x = images()
        assert View(None)(x) is x


class TestDrawnView:
    clock = Clock(4 * 6, 40 * 6, 6)

    @pytest.mark.parametrize(("jitter", "most"), [(1, 1), (2, 2), (100, SHAPE.height // 8)])
    def test_jitter_reaches_as_far_as_asked_for_and_an_eighth_at_most(self, jitter: int, most: int) -> None:
        shifts = draw_view(Draws(0, "gan"), self.clock, images(200), 0.0, True, jitter=jitter).jitter
        assert shifts is not None
        assert shifts.shape == (2, 200)
        assert (int(shifts.min()), int(shifts.max())) == (-most, most)

    def test_without_jitter_and_augmentation_images_are_shown_as_they_are(self) -> None:
        assert draw_view(Draws(0, "gan"), self.clock, images(), 0.0, True) == View(None)

    def test_copies_of_an_image_follow_each_other_and_share_its_changes(self) -> None:
        x = images()
        once, twice = (draw_view(Draws(0, "gan"), self.clock, x, 1.0, True, copies, 2) for copies in (1, 2))
        assert torch.equal(twice(x.repeat_interleave(2, 0)), once(x).repeat_interleave(2, 0))

    def test_processes_share_what_one_would_draw(self) -> None:
        x, own = (
            images(),
            [draw_view(Draws(0, "gan", "cpu", rank, 2), self.clock, images()[rank::2], 1.0, True, 1, 2) for rank in (0, 1)],
        )
        whole = draw_view(Draws(0, "gan"), self.clock, x, 1.0, True, 1, 2)(x)
        for rank, view in enumerate(own):
            torch.testing.assert_close(view(x[rank::2]), whole[rank::2], atol=1e-12, rtol=0)
