"""All settings in one place, without torch: the command line shows them, presets and files (config_files.py) set them.

A help text says what a setting does and when to change it. What was measured about it stands in docs/settings.md.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from vaegan.errors import RequestError
from vaegan.shapes import DataConfig, NetworkConfig

MOST_CLASSES = 1000
"""Categories that a conditional model can be told apart by."""
MOST_IMAGES_A_STEP = 65_536
"""Images that a step may encode, decode or judge at once."""
MOST = 1e15
"""Largest value of any setting: beyond it numbers only overflow."""
PriorName = Literal["mixture", "normal", "uniform"]
Objective = Literal["calibrated", "squared-error", "mean-squared-error", "laplace", "cross-entropy", "continuous-bernoulli"]
ClassicObjective = Literal["relativistic", "saturating", "non-saturating", "hinge", "least-squares", "wasserstein"]
Stage = Literal["ae", "vae", "gan", "joint"]
"""What one stage of a run trains."""
RecipeName = Literal["vae-gan", "ae", "vae", "gan", "joint", "classic-gan"]
"""What a run trains, in one stage or two."""
GuardMode = Literal["off", "warn", "act"]
STAGES: dict[str, tuple[Stage, ...]] = {"vae-gan": ("vae", "gan"), "classic-gan": ("gan",)}
"""Stages of the recipes whose name is not their only stage's."""


@dataclass(frozen=True)
class VAEConfig:
    """How the VAE is trained; the plain autoencoder takes its optimiser, batches, rates and averages from here, too."""

    objective: Objective = "calibrated"
    """What reconstructions are held to. calibrated: squared error in units of its own mean, which needs no weight;
    squared-error: summed; mean-squared-error: averaged, where the posterior collapses; laplace: absolute error;
    cross-entropy and continuous-bernoulli: on [0, 1]."""
    optimizer: Literal["muon", "adam"] = "muon"
    """muon (Jordan et al. 2024) learns two to three times as much from the same images; adam is the sources'."""
    batch_size: int = 32
    """Images a step over all devices."""
    learning_rate: float = 1.5e-3
    """Learning rate at the start; it falls along half a cosine."""
    final_learning_rate: float = 2e-5
    """Learning rate at the end: low enough for the noise of small batches to settle."""
    reconstruction_weight: float = 1.0
    """Factor on the reconstruction loss; 0 leaves the KL divergence alone, to see what it does."""
    kl_weight: float = 1.0
    """Factor on the KL divergence. 1 makes the loss a bound on -log p(x); 0 leaves the latents without order."""
    kl_warmup: float = 0.1
    """Share of the stage over which the KL divergence is faded in, so that latents are used before they cost."""
    kl_cycles: int = 1
    """Times that the KL divergence is faded in, each in an equal part of the stage: 4 (Fu et al. 2019) against collapse."""
    free_bits: float = 0.0
    """KL divergence [nats] that each latent dimension has for nothing (Kingma et al. 2016), against collapsed posteriors."""
    samples: int = 1
    """Posterior samples an image. k > 1 trains the importance-weighted bound IWAE-k (Burda et al. 2016) at k decodings."""
    average_cap: int = 5_000
    """Longest half-life of the averaged weights [images]; 1 averages nothing. Longer for large networks and long runs."""

    def __post_init__(self) -> None:
        _check_ranges(self, "vae", positive=("learning_rate", "final_learning_rate", "average_cap", "kl_cycles", "samples"))
        _check_ranges(self, "vae", not_negative=("reconstruction_weight", "kl_weight", "free_bits"), share=("kl_warmup",))
        _check_batch(self, "vae")
        if self.samples * self.batch_size > MOST_IMAGES_A_STEP:
            raise RequestError(
                f"--vae.samples {self.samples} of --vae.batch-size {self.batch_size} images are more than a step can decode: "
                f"{MOST_IMAGES_A_STEP:,}."
            )
        if self.reconstruction_weight == self.kl_weight == 0:
            raise RequestError("--vae.reconstruction-weight 0 and --vae.kl-weight 0 leave nothing to learn; give one of them.")
        if self.samples > 1 and self.free_bits > 0:
            raise RequestError("--vae.samples over 1 and --vae.free-bits exclude each other: the bound has no KL divergence.")


@dataclass(frozen=True)
class GANConfig:
    """How the GAN is trained: relativistic pairs with R1 and R2 (R3GAN, Huang et al. 2024)."""

    batch_size: int = 32
    """Pairs a step over all devices. More for GPUs and large networks: the presets base and large have 64."""
    learning_rate: float = 1.8e-3
    """Muon's rate for the critic at the start (the generator's is twice that); it falls along half a cosine."""
    final_learning_rate: float = 4e-5
    """The critic's rate at the end (the generator's is twice that): low, so that the average is calm."""
    prior: PriorName = "mixture"
    """What latents are drawn from. mixture: Gaussians fitted to the encoded images, or normal from scratch; normal: N(0, I);
    uniform: on [-1, 1], from scratch only."""
    penalty: float = 0.1
    """Gradient penalty gamma at the start; it falls to a fifth. Higher keeps kinds of images, lower draws finer detail."""
    augmentation: float = 0.3
    """Probability of each random change of what the critic sees, at the end of the stage. Higher for a few thousand images."""
    jitter: int = 4
    """The critic sees each pair moved by up to so many pixels. 0 gives better distances, and fewer even areas."""
    anchor: float = 8.0
    """Weight that holds coarse reconstructions to real images; it falls to three quarters. Lower: more variety, and real images
    come back less well; 0: none."""
    refit_every: int = 2
    """In the second half the encoder follows the generator, once in so many steps; 0 leaves it as the VAE's."""
    perception: Literal["efficientnet-lite0", "none"] = "efficientnet-lite0"
    """A second critic looks through a frozen network trained on photographs: far better pictures. none: your images alone."""

    def __post_init__(self) -> None:
        """Refuses what no training can be done with."""
        _check_ranges(self, "gan", positive=("learning_rate", "final_learning_rate"))
        _check_ranges(self, "gan", not_negative=("penalty", "jitter", "anchor", "refit_every"))
        _check_ranges(self, "gan", share=("augmentation",))
        _check_batch(self, "gan", least=2)  # images of a batch are compared


@dataclass(frozen=True)
class JointConfig:
    """How the joint VAE/GAN is trained (Larsen et al. 2016)."""

    objective: Literal["relativistic", "non-saturating"] = "relativistic"
    """What decoder and critic play for: pairs, as the GAN does, or the paper's game with a decoder that maximises log D(G)."""
    batch_size: int = 16
    """Images a step over all devices; each is reconstructed, and as many are sampled."""
    learning_rate: float = 3e-4
    """Adam's for all networks, at the start; it falls to a third."""
    kl_weight: float = 1.0
    """Factor on the KL divergence, beside a feature error in units of the features' variance."""
    adversarial_weight: float = 1.0
    """Factor on the adversarial losses, beside the feature error averaged over the features: the paper's 1/gamma, per feature."""

    def __post_init__(self) -> None:
        _check_ranges(self, "joint", positive=("learning_rate",), not_negative=("kl_weight", "adversarial_weight"))
        _check_batch(self, "joint", least=2)  # as for the GAN


@dataclass(frozen=True)
class ClassicGANConfig:
    """How a GAN is trained as the sources do it, from scratch: to compare with and to learn from."""

    objective: ClassicObjective = "non-saturating"
    """saturating: the minimax game of 2014; non-saturating; hinge; least-squares; wasserstein: needs --classic.clip or
    --classic.penalty; relativistic: the pairs of --recipe gan, to compare objectives under one optimiser."""
    batch_size: int = 128
    """Images a step over all devices."""
    learning_rate: float = 2e-4
    """Learning rate of both players; constant, as in the sources."""
    optimizer: Literal["adam", "sgd", "rmsprop"] = "adam"
    """The generator's optimiser."""
    critic_optimizer: Literal["adam", "sgd", "rmsprop"] = "adam"
    """The critic's optimiser: DCGAN's source has sgd (momentum 0.9); clipped Wasserstein was published with rmsprop."""
    beta1: float = 0.5
    """First moment of Adam: DCGAN has 0.5, WGAN-GP 0."""
    critic_steps: int = 1
    """Steps of the critic, each on new images, for one of the generator; Wasserstein: 5."""
    prior: Literal["normal", "uniform"] = "normal"
    """What latents are drawn from: N(0, I), or uniform on [-1, 1]."""
    clip: float = 0.0
    """Weights of the critic are kept within this of 0 (Wasserstein: 0.01); 0 does not clip."""
    penalty: float = 0.0
    """Gradient penalty: lambda of WGAN-GP for wasserstein (published with 10), gamma of R1 and R2 for the others; 0: none."""

    def __post_init__(self) -> None:
        _check_ranges(self, "classic", positive=("learning_rate", "critic_steps"), not_negative=("clip", "penalty"))
        _check_batch(self, "classic", least=2)
        if not 0 <= self.beta1 < 1:
            raise RequestError(f"--classic.beta1 is {self.beta1}; it must be at least 0 and under 1.")
        if self.objective == "wasserstein" and self.clip == 0 and self.penalty == 0:
            raise RequestError("--classic.objective wasserstein without bound: give --classic.clip 0.01 or --classic.penalty 10.")


@dataclass(frozen=True)
class DeviceConfig:
    """Where training runs."""

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes a GPU when there is one."""
    devices: int = 1
    """Processes on this machine; each trains on its share of every batch. On GPUs one a card."""
    nodes: int = 1
    """Machines, when started by SLURM or torchrun on each of them."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto times both for some seconds on this machine and records the choice: bfloat16 if it gains a tenth."""

    def __post_init__(self) -> None:
        for name, value in (("devices", self.devices), ("nodes", self.nodes)):
            if value < 1:
                raise RequestError(f"--{name} is {value}; it must be 1 or more.")


GAN_COST = 3.5  # the GAN's time for an image over the VAE's: 2.9 to 4.4 in five runs of the preset tiny with eyes
GROWN_COST = 1.1  # the time of a grown GAN for an image over that of one from scratch: anchor and encoder
SHORT_VAE = 24_000  # images that the VAE gets in a short run, too: a GAN on a VAE that has seen fewer stays noise
VAE_TIME = 0.3  # share of the time that the VAE gets
MOST_VAE_TIME = 0.6  # largest share of the time that is spent on reaching them


@dataclass(frozen=True)
class Budget:
    """How the stages share the time. A short run gives the VAE up to 60 %, until it has seen 24,000 images."""

    vae_share: float | None = None
    """Share that the VAE gets when a GAN follows: of --minutes (0.3 by default) or of --images (0.6, as much time)."""

    def __post_init__(self) -> None:
        if self.vae_share is not None and not 0 < self.vae_share < 1:
            raise RequestError(f"--vae-share is {self.vae_share}; it must be between 0 and 1.")

    def vae_seconds(self, seconds: float, speed: float) -> float:
        """The VAE's part of `seconds` in two stages, if it sees `speed` [images/s]."""
        if self.vae_share is not None:
            return self.vae_share * seconds
        return max(VAE_TIME * seconds, min(SHORT_VAE / speed, MOST_VAE_TIME * seconds))

    def vae_images(self, images: int) -> float:
        """The VAE's part of `images` in two stages; an image costs the GAN `GAN_COST` times as much."""
        if self.vae_share is not None:
            return self.vae_share * images
        usual, most = (share / (share + (1 - share) / GAN_COST) for share in (VAE_TIME, MOST_VAE_TIME))
        return max(usual * images, min(SHORT_VAE, most * images))


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run learns, except the images themselves."""

    recipe: RecipeName = "vae-gan"
    """vae-gan: a VAE that grows into a GAN; vae or gan: only that; ae: a plain autoencoder; joint: VAE and GAN at once (Larsen
    et al. 2016); classic-gan: the sources' GANs."""
    seed: int = 0
    """Seed of every random stream."""
    guards: GuardMode = "act"
    """When training goes wrong: act says so and, where it helps, goes back and slows down; warn only says so; off looks away."""
    patience: float = 0.0
    """End a stage when so many passes over the training images brought no better model; 0: train as long as asked for."""
    conditional: bool = False
    """Tell the networks each image's label (sub-folder, IDX or .npz label), so that `sample --label` can ask for one."""
    condition: str | None = None
    """Which label, where the images have several (faces: hat, glasses, ...); implies --conditional."""
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)
    gan: GANConfig = field(default_factory=GANConfig)
    joint: JointConfig = field(default_factory=JointConfig)
    classic: ClassicGANConfig = field(default_factory=ClassicGANConfig)
    budget: Budget = field(default_factory=Budget)
    device: DeviceConfig = field(default_factory=DeviceConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.patience < float("inf"):
            raise RequestError(f"--patience {self.patience:g} is no number of passes; give 0 or more.")

    @property
    def is_conditional(self) -> bool:
        """Whether the networks are told labels."""
        return self.conditional or self.condition is not None

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages in order."""
        return STAGES.get(self.recipe, (self.recipe,))

    @property
    def is_classic(self) -> bool:
        """Whether this is one of the sources' GANs, which have settings and a recipe of their own."""
        return self.recipe == "classic-gan"

    @property
    def has_eyes(self) -> bool:
        """Whether a critic looks through a frozen network."""
        return "gan" in self.stages and not self.is_classic and self.gan.perception != "none"

    def group(self, stage: str) -> str:
        """Name of the settings of a stage; an autoencoder has the VAE's."""
        return "vae" if stage == "ae" else "classic" if self.is_classic else stage

    def batch_size(self, stage: str) -> int:
        """Images a step of a stage."""
        return getattr(self, self.group(stage)).batch_size


def _check_ranges(
    settings: Any,
    group: str,
    positive: tuple[str, ...] = (),
    not_negative: tuple[str, ...] = (),
    share: tuple[str, ...] = (),
) -> None:
    """Refuses numbers outside (0, 1e15], [0, 1e15] or [0, 1]; not-a-number is outside of all."""
    rules = (
        (positive, lambda value: 0 < value <= MOST, "more than 0 and at most 1e15"),
        (not_negative, lambda value: 0 <= value <= MOST, "0 or more and at most 1e15"),
        (share, lambda value: 0 <= value <= 1, "between 0 and 1"),
    )
    for names, fits, words in rules:
        for name in names:
            value = getattr(settings, name)
            if not fits(value):
                raise RequestError(f"--{group}.{name.replace('_', '-')} is {value}; it must be {words}.")


def _check_batch(settings: Any, group: str, least: int = 1) -> None:
    """Refuses batches that no memory holds, which would only end hours later or by the system's hand."""
    if not least <= settings.batch_size <= MOST_IMAGES_A_STEP:
        raise RequestError(
            f"--{group}.batch-size is {settings.batch_size}; it must be between {least} and {MOST_IMAGES_A_STEP:,}."
        )
