"""A latent model whose evidence and posterior are known in closed form: the yardstick of every bound on log p(x)."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.distributions import MultivariateNormal, kl_divergence


@dataclass(frozen=True, eq=False)
class LinearGaussian:
    """z ~ N(0, I), x ~ N(W z, deviation^2 I): probabilistic PCA (Tipping & Bishop 1999). Everything in float64."""

    weight: Tensor
    """W [values, latents]."""
    deviation: float

    @classmethod
    def make(cls, values: int, latents: int, deviation: float, seed: int) -> "LinearGaussian":
        """A random one, whose latents are correlated given x."""
        generator = Generator().manual_seed(seed)
        return cls(torch.randn(values, latents, generator=generator, dtype=torch.float64) / math.sqrt(latents), deviation)

    @property
    def values(self) -> int:
        """Numbers in one x."""
        return self.weight.shape[0]

    @property
    def latents(self) -> int:
        """Numbers in one z."""
        return self.weight.shape[1]

    def draw(self, count: int, generator: Generator) -> Tensor:
        """[count, values]."""
        z = torch.randn(count, self.latents, generator=generator, dtype=torch.float64)
        noise = torch.randn(count, self.values, generator=generator, dtype=torch.float64)
        return z @ self.weight.T + self.deviation * noise

    def log_evidence(self, x: Tensor) -> Tensor:
        """The evidence log p(x) = log N(x; 0, W W' + deviation^2 I), [count] [nats]."""
        covariance = self.weight @ self.weight.T + self.deviation**2 * torch.eye(self.values, dtype=x.dtype)
        return MultivariateNormal(x.new_zeros(self.values), covariance).log_prob(x)

    def log_weights(self, x: Tensor, proposal: "Posterior", draws: int, generator: Generator) -> Tensor:
        """The weights log p(x|z) + log p(z) - log q(z|x) for `draws` latents of each x, [count, draws] [nats]."""
        noise = torch.randn(len(x), draws, self.latents, generator=generator, dtype=torch.float64)
        z = (x @ proposal.gain.T)[:, None] + noise @ proposal.root.T
        log_q = _standard_log_normal(noise) - proposal.root.diagonal().log().sum()
        residual = (x[:, None] - z @ self.weight.T) / self.deviation
        return _standard_log_normal(residual) - self.values * math.log(self.deviation) + _standard_log_normal(z) - log_q

    @property
    def posterior(self) -> "Posterior":
        """p(z|x) itself."""
        return Posterior(self._gain(), torch.linalg.cholesky(torch.linalg.inv(self._precision())))

    @property
    def diagonal_posterior(self) -> "Posterior":
        """The best q with a diagonal covariance: the right mean, and 1 / (the precision's diagonal) (Bishop 2006, Eq. 10.13)."""
        return Posterior(self._gain(), torch.diag(self._precision().diagonal().rsqrt()))

    @property
    def wide_posterior(self) -> "Posterior":
        """The posterior with all deviations doubled."""
        return Posterior(self._gain(), 2 * self.posterior.root)

    @property
    def prior(self) -> "Posterior":
        """N(0, I), whatever x is."""
        identity = torch.eye(self.latents, dtype=torch.float64)
        return Posterior(torch.zeros(self.latents, self.values, dtype=torch.float64), identity)

    def _precision(self) -> Tensor:
        return torch.eye(self.latents, dtype=torch.float64) + self.weight.T @ self.weight / self.deviation**2

    def _gain(self) -> Tensor:
        return torch.linalg.solve(self._precision(), self.weight.T) / self.deviation**2


@dataclass(frozen=True, eq=False)
class Posterior:
    """q(z|x) = N(gain x, root root'), root lower triangular."""

    gain: Tensor
    root: Tensor

    def elbo(self, model: LinearGaussian, x: Tensor) -> float:
        """Mean of log p(x) - KL(q || p(z|x)) over the rows of x, in closed form [nats]."""
        exact = model.posterior
        ours, theirs = (MultivariateNormal(x @ q.gain.T, scale_tril=q.root) for q in (self, exact))
        return float((model.log_evidence(x) - kl_divergence(ours, theirs)).mean())


def _standard_log_normal(x: Tensor) -> Tensor:
    return -0.5 * (x.square().sum(-1) + x.shape[-1] * math.log(2 * math.pi))
