"""Losses against torch.distributions, closed forms and brute force."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from vaegan.config import NetworkConfig
from vaegan.networks import Critic
from vaegan.objectives import gaussian, penalties, relativistic

FLOAT64 = torch.float64

numbers = st.floats(-8, 8)
logit_lists = st.lists(numbers, min_size=1, max_size=12)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=FLOAT64)


class TestGaussian:
    @given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8))
    def test_kl_is_that_of_torch_and_never_negative(self, posterior: list[tuple[float, float]]) -> None:
        mean, log_var = torch.tensor(posterior, dtype=FLOAT64).T
        kl = gaussian.kl_to_standard_normal(mean, log_var)
        wanted = kl_divergence(Normal(mean, torch.exp(log_var / 2)), Normal(torch.zeros_like(mean), torch.ones_like(mean)))
        torch.testing.assert_close(kl, wanted)
        assert (kl >= -1e-12).all()

    def test_kl_of_the_prior_is_zero_and_keeps_its_shape(self) -> None:
        kl = gaussian.kl_to_standard_normal(torch.zeros(3, 5), torch.zeros(3, 5))
        assert torch.equal(kl, torch.zeros(3, 5))

    def test_diagonal_kl_is_the_general_formula(self) -> None:
        """1/2 (tr(S1^-1 S0) + (m1-m0)' S1^-1 (m1-m0) - k + ln det S1/det S0) with S1 = I."""
        mean, log_var = randn(1, 6), randn(1, 6, seed=1)
        covariance = torch.diag(log_var[0].exp())
        wanted = 0.5 * (covariance.trace() + mean[0] @ mean[0] - 6 - torch.logdet(covariance))
        torch.testing.assert_close(gaussian.kl_to_standard_normal(mean, log_var).sum(1), wanted[None])

    def test_squared_error_sums_over_an_image(self) -> None:
        images, others = randn(3, 2, 4, 4), randn(3, 2, 4, 4, seed=1)
        wanted = torch.stack(
            [
                sum((a - b) ** 2 for a, b in zip(x.flatten(), y.flatten(), strict=True))
                for x, y in zip(images, others, strict=True)
            ]
        )
        torch.testing.assert_close(gaussian.squared_error(images, others), wanted)

    @given(st.floats(0.001, 10))
    def test_loss_is_the_negative_log_density_up_to_its_constant(self, variance: float) -> None:
        images, decoded = randn(4, 3, 5, 5), randn(4, 3, 5, 5, seed=1)
        values = 75
        density = Normal(decoded, math.sqrt(variance)).log_prob(images).flatten(1).sum(1)
        loss = gaussian.gaussian_loss(gaussian.squared_error(images, decoded), values, torch.tensor(variance, dtype=FLOAT64))
        torch.testing.assert_close(loss + values / 2 * math.log(2 * math.pi), -density)

    def test_gradient_with_detached_variance_is_that_of_the_log_of_the_error(self) -> None:
        images = randn(4, 3, 5, 5)
        decoded = randn(4, 3, 5, 5, seed=1).requires_grad_()
        values = 75
        error = gaussian.squared_error(images, decoded)
        variance = gaussian.calibrated_variance(error.detach().mean() / values)
        (gradient,) = torch.autograd.grad(gaussian.gaussian_loss(error, values, variance).mean(), decoded)
        (wanted,) = torch.autograd.grad(values / 2 * torch.log(torch.mean((images - decoded) ** 2)), decoded)
        torch.testing.assert_close(gradient, wanted)

    @given(st.floats(1e-3, 10), st.floats(1e-3, 10))
    def test_calibrated_variance_is_the_best_one(self, error: float, other: float) -> None:
        values = 48
        total = torch.tensor([values * error], dtype=FLOAT64)
        best = gaussian.calibrated_variance(torch.tensor(error, dtype=FLOAT64))
        at_best, elsewhere = (gaussian.gaussian_loss(total, values, v) for v in (best, torch.tensor(other, dtype=FLOAT64)))
        assert float(at_best) <= float(elsewhere) + 1e-9

    def test_variance_has_the_floor_log_sigma_minus_five(self) -> None:
        assert 0.5 * math.log(gaussian.calibrated_variance(torch.tensor(0.0, dtype=FLOAT64))) == pytest.approx(-5)
        assert gaussian.calibrated_variance(torch.tensor(0.25)) == 0.25

    @pytest.mark.parametrize(
        ("reconstruction_weight", "beta"),
        [(1 / 784, 392), (1 / (64 * 64 * 3), 6144), (1, 0.5), (0.5, 1), (1 / (2 * 0.07), 0.07)],
        ids=["MNIST mean", "64x64x3 mean", "SE + KL", "1/2 SE + KL", "calibrated"],
    )
    def test_effective_beta(self, reconstruction_weight: float, beta: float) -> None:
        assert gaussian.effective_beta(reconstruction_weight, 1) == pytest.approx(beta)
        assert gaussian.effective_beta(reconstruction_weight, 3) == pytest.approx(3 * beta)


class TestElboOfALinearGaussianModel:
    """p(z) = N(0, I), p(x|z) = N(W z + b, s^2 I): everything is known in closed form."""

    latent, values, variance = 3, 7, 0.3
    weight, bias, x = randn(7, 3), randn(7, seed=1), randn(7, seed=2)
    mean, log_var = 0.5 * randn(3, seed=3), 0.5 * randn(3, seed=4) - 4

    @property
    def evidence(self) -> Tensor:
        return MultivariateNormal(self.bias, self.weight @ self.weight.T + self.variance * torch.eye(7, dtype=FLOAT64)).log_prob(
            self.x
        )

    @property
    def gap(self) -> Tensor:
        """KL(q || posterior)."""
        precision = torch.eye(3, dtype=FLOAT64) + self.weight.T @ self.weight / self.variance
        true_mean = torch.linalg.solve(precision, self.weight.T @ (self.x - self.bias) / self.variance)
        posterior = MultivariateNormal(true_mean, precision_matrix=precision)
        return kl_divergence(MultivariateNormal(self.mean, torch.diag(self.log_var.exp())), posterior)

    def elbo(self, error: Tensor) -> Tensor:
        kl = gaussian.kl_to_standard_normal(self.mean, self.log_var).sum()
        loss = gaussian.gaussian_loss(error, self.values, torch.tensor(self.variance, dtype=FLOAT64))
        return -loss - 0.5 * self.values * math.log(2 * math.pi) - kl

    def test_with_the_expectation_taken_analytically(self) -> None:
        at_mean = (self.x - self.bias - self.weight @ self.mean).square().sum()
        error = at_mean + (self.weight.square() @ self.log_var.exp()).sum()
        torch.testing.assert_close(self.elbo(error), self.evidence - self.gap)
        assert self.gap > 0.1

    def test_with_samples(self) -> None:
        z = self.mean + torch.exp(self.log_var / 2) * randn(400_000, 3, seed=5)
        elbo = self.elbo((self.x - self.bias - z @ self.weight.T).square().sum(1))
        spread = float(elbo.std()) / math.sqrt(len(elbo))
        assert abs(float(elbo.mean() - (self.evidence - self.gap))) < 4 * spread < 0.2


class TestRelativistic:
    @given(logit_lists)
    def test_losses_follow_the_formula(self, logits: list[float]) -> None:
        real, fake = torch.tensor(logits, dtype=FLOAT64), torch.tensor(logits[::-1], dtype=FLOAT64)
        for r, f, critic, player in zip(
            real, fake, relativistic.critic_loss(real, fake), relativistic.generator_loss(real, fake), strict=True
        ):
            assert float(critic) == pytest.approx(math.log1p(math.exp(-(r - f))))
            assert float(player) == pytest.approx(math.log1p(math.exp(-(f - r))))

    @given(logit_lists, numbers)
    def test_players_are_mirrored_and_see_only_differences(self, logits: list[float], shift: float) -> None:
        real, fake = torch.tensor(logits, dtype=FLOAT64), torch.tensor(logits[::-1], dtype=FLOAT64)
        loss = relativistic.critic_loss(real, fake)
        torch.testing.assert_close(loss, relativistic.generator_loss(fake, real))
        torch.testing.assert_close(loss, relativistic.critic_loss(real + shift, fake + shift))

    def test_gradients_have_opposite_signs(self) -> None:
        real, fake = torch.tensor([0.3], requires_grad=True), torch.tensor([-0.2], requires_grad=True)
        for loss, sign in ((relativistic.critic_loss, -1), (relativistic.generator_loss, 1)):
            by_real, by_fake = torch.autograd.grad(loss(real, fake).sum(), (real, fake))
            assert by_real.sign() == sign
            torch.testing.assert_close(by_real, -by_fake)

    @given(st.lists(st.integers(-5, 5), min_size=1, max_size=8, unique=True), st.lists(st.floats(-6, 6), min_size=1, max_size=8))
    def test_pair_accuracy_is_the_share_of_all_pairs(self, real: list[int], fake: list[float]) -> None:
        fake = [f + 0.1234567 for f in fake if not (f + 0.1234567).is_integer()] or [0.5]
        wanted = sum(r > f for r in real for f in fake) / (len(real) * len(fake))
        found = relativistic.pair_accuracy(torch.tensor(real, dtype=FLOAT64), torch.tensor(fake, dtype=FLOAT64))
        assert float(found) == pytest.approx(wanted)


def small_critic() -> Callable[[Tensor], Tensor]:
    torch.manual_seed(0)
    critic = Critic(NetworkConfig(width=8, width_limit=16, latent_dim=4), 16, 3).double()
    torch.nn.init.normal_(critic.head.weight, std=0.5)
    return critic


class TestPenalties:
    def test_finite_difference_expects_the_exact_penalty(self) -> None:
        critic, step, draws = small_critic(), 0.01, 3000
        images = randn(4, 3, 16, 16).clamp(-1, 1)
        exact = penalties.exact_penalty(critic, images).detach().double()
        with torch.no_grad():
            logits = critic(images)
            found = torch.stack([
                penalties.finite_difference_penalty(
                    logit.expand(draws), critic(image + step * randn(draws, 3, 16, 16, seed=k)), step
                ).mean()
                for k, (image, logit) in enumerate(zip(images, logits, strict=True))
            ])  # fmt: skip
        assert float(found.sum()) == pytest.approx(float(exact.sum()), rel=0.05)
        torch.testing.assert_close(found.double(), exact, rtol=0.1, atol=0)

    def test_exact_penalty_is_the_hand_gradient_of_a_quadratic(self) -> None:
        a, b, images = randn(12, 12), randn(12, seed=1), randn(5, 3, 2, 2, seed=2)

        def quadratic(x: Tensor) -> Tensor:
            flat = x.flatten(1)
            return 0.5 * torch.einsum("ni,ij,nj->n", flat, a, flat) + flat @ b

        gradient = images.flatten(1) @ (a + a.T) / 2 + b
        torch.testing.assert_close(penalties.exact_penalty(quadratic, images), gradient.square().sum(1))

    def test_exact_penalty_of_a_linear_critic_has_the_second_derivative_two_w(self) -> None:
        weight = randn(12).requires_grad_()
        penalty = penalties.exact_penalty(lambda x: x.flatten(1) @ weight, randn(1, 3, 2, 2, seed=1))
        (gradient,) = torch.autograd.grad(penalty.sum(), weight)
        torch.testing.assert_close(gradient, 2 * weight.detach())

    def test_exact_penalty_reaches_the_weights_of_a_real_critic_and_not_the_images(self) -> None:
        critic, images = small_critic(), randn(2, 3, 16, 16).requires_grad_()
        penalties.exact_penalty(critic, images).mean().backward()
        assert images.grad is None
        for name, parameter in critic.named_parameters():
            if name.endswith("weight"):
                assert parameter.grad is not None
                assert parameter.grad.abs().max() > 0, name

    def test_exact_penalty_works_where_gradients_are_off(self) -> None:
        with torch.no_grad():
            assert (penalties.exact_penalty(small_critic(), randn(2, 3, 16, 16)) > 0).all()

    def test_logit_drift_on_one_process(self) -> None:
        real, fake = torch.tensor([1.0, 1.5], requires_grad=True), torch.tensor([-2.0, 1.0], requires_grad=True)
        drift = penalties.logit_drift(real, fake, lambda value: value)
        assert drift.item() == pytest.approx(0.75**2)
        for gradient in torch.autograd.grad(drift, (real, fake)):
            assert gradient.tolist() == pytest.approx([0.75, 0.75])

    def test_logit_drift_of_two_halves_averages_to_the_gradient_of_the_whole(self) -> None:
        inputs, weight = randn(8, 3), randn(3, seed=1).requires_grad_()

        def logits(part: Tensor) -> tuple[Tensor, Tensor]:
            found = torch.tanh(part @ weight)
            return found, found.square()

        def level(part: Tensor) -> Tensor:
            real, fake = logits(part)
            return real.mean() + fake.mean()

        (wanted,) = torch.autograd.grad(level(inputs).square(), weight)
        whole = level(inputs).detach()
        drifts = [penalties.logit_drift(*logits(half), lambda _: whole) for half in inputs.chunk(2)]
        gradients = [torch.autograd.grad(drift, weight)[0] for drift in drifts]
        torch.testing.assert_close(sum(gradients) / 2, wanted)
        torch.testing.assert_close(sum(drifts).detach() / 2, whole**2)


def test_a_tie_is_half_right() -> None:
    assert relativistic.pair_accuracy(torch.zeros(3), torch.zeros(5)) == 0.5
    assert relativistic.pair_accuracy(torch.ones(3), torch.zeros(5)) == 1
