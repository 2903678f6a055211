"""All settings in one place, without torch: the command line shows them, presets and files (config_files.py) set them."""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from vaegan.errors import RequestError

MOST_CLASSES = 1000
"""Categories that a conditional model can be told apart by."""
MOST_IMAGES_A_STEP = 65_536
"""Images that a step may encode, decode or judge at once."""
LEAST_SIZE, MOST_SIZE = 16, 256
"""Sides that images can be trained at [pixels]."""
Fit = Literal["crop", "pad", "stretch"]
Channels = Literal["auto", "1", "3"]
Flip = Literal["auto", "on", "off"]
Binarize = Literal["none", "dynamic"]
Stage = Literal["ae", "vae", "gan", "joint"]
"""What one stage of a run trains."""
RecipeName = Literal["vae-gan", "ae", "vae", "gan", "joint"]
"""What a run trains: one stage, or two with a hyphen between them."""
GuardMode = Literal["off", "warn", "act"]


@dataclass(frozen=True)
class DataConfig:
    """How images are prepared before training. Raises RequestError for a value that cannot be served."""

    size: int = 64
    """Side of the square that every image becomes [pixels], 16 to 256. 64 trains in minutes on a CPU and still shows a
    face."""

    fit: Fit = "crop"
    """How a rectangle becomes a square: crop its centre, pad it with white, or stretch it. Crop keeps shapes true and
    leaves no bars for the model to learn."""

    channels: Channels = "auto"
    """1 (grey) or 3 (colour); auto takes 1 only when every image is grey, so that no colour is lost unasked."""

    flip: Flip = "auto"
    """Mirror half of the training images left to right. Auto does so except for IDX data, because mirrored digits and
    letters are other signs, while a mirrored face or landscape is as good as a new one."""

    binarize: Binarize = "none"
    """Dynamic draws every grey pixel anew as black or white with its brightness as the probability, which is how
    binarised MNIST is defined. None by default because photographs and drawings are not binary."""

    def __post_init__(self) -> None:
        """Refuses impossible values before anything is read."""
        if not LEAST_SIZE <= self.size <= MOST_SIZE:
            raise RequestError(f"The size {self.size} is not possible: choose {LEAST_SIZE} to {MOST_SIZE} pixels (--size).")
        choices = (("fit", self.fit, Fit), ("channels", self.channels, Channels), ("flip", self.flip, Flip))
        for name, value, allowed in (*choices, ("binarize", self.binarize, Binarize)):
            if value not in get_args(allowed):
                known = ", ".join(get_args(allowed))
                raise RequestError(f"--{name} {value} is not known: choose one of {known}.")
        if self.binarize == "dynamic" and self.channels == "3":
            raise RequestError("--binarize dynamic is for grey images: use it with --channels 1, or leave it out.")


Weights = Literal["he", "uniform", "normal"]


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the three networks. Encoder, critic and decoder mirror each other."""

    kind: Literal["plain", "residual", "classic", "mlp"] = "plain"
    """plain: strided convolutions, fastest on a CPU; residual: norm-free residual stages, for GPUs or patience; classic and mlp:
    the convolutional and the fully connected networks of the sources, to compare with."""
    latent_dim: int = 64
    """Numbers that describe one image. 64 explains as much of 64x64 faces as a small network can use."""
    width: int = 16
    """Channels of the finest stage; doubled at every coarser one, up to `width_limit`. After four minutes on two cores 16 is
    about as good as 32 by every distance and cleaner to the eye: it sees 1.7 times as many images (docs/handover-log.md)."""
    width_limit: int = 128
    """Channels of the coarsest stages: what doubling reaches at 64x64, so that larger images add stages and no width."""
    critic_hidden: int = 32
    """Numbers between the critic's last map and its logit, which see the whole image at once; 0: a linear head, as the sources
    have. Coverage of anime faces after 30,000 images: 0.90 with 32, 0.86 without; more makes samples rougher."""
    blocks: int = 1
    """Residual blocks a stage (residual only)."""
    layers: int = 4
    """Convolutions of the encoder and of the decoder (classic), or hidden layers of `width` numbers (mlp)."""
    decoder_width: int = 0
    """Channels of the decoder's finest stage where they are not the encoder's (classic only); 0: the same."""
    norm: Literal["none", "batch"] = "none"
    """Batch normalisation (classic only), as some sources have it. It ties an image to the others of its batch: no handover, no
    joint model, one process only."""
    upsampling: Literal["transposed", "nearest"] = "transposed"
    """How a classic decoder doubles the side: transposed convolution, or nearest neighbours and a convolution."""
    activation: Literal["leaky", "relu"] = "leaky"
    """Of encoder and critic (classic and mlp; their decoders have relu). leaky passes a fifth of what is below 0."""
    weights: Weights = "he"
    """How weights are drawn before training. he: to the scale that networks without normalisation need; uniform: torch's own
    choice; normal: N(0, 0.02), DCGAN's."""
    classes: int = 0
    """Categories that the networks are told; --conditional sets it to those of the labels."""
    output: Literal["linear", "tanh", "sigmoid", "continuous-bernoulli"] = "linear"
    """Last operation of the decoder. linear: none but a cut at black and white, which a critic sees and the Gaussian likelihood
    does not; tanh: for both; sigmoid is for --vae.objective cross-entropy and continuous-bernoulli for that of its name: they
    give the mean of that distribution."""

    def __post_init__(self) -> None:
        """Refuses numbers no network can be built from, and sizes that only a damaged file would ask for."""
        limits = {"latent_dim": 8192, "width": 1024, "width_limit": 4096, "blocks": 16, "layers": 8}
        if not 0 <= self.classes <= MOST_CLASSES:
            raise RequestError(f"--network.classes is {self.classes}; it must be between 0 and {MOST_CLASSES}.")
        for name, limit in limits.items():
            value = getattr(self, name)
            if not 1 <= value <= limit:
                raise RequestError(f"--network.{name.replace('_', '-')} is {value}; it must be between 1 and {limit}.")
        for name, limit in {"critic_hidden": limits["width_limit"], "decoder_width": limits["width"]}.items():
            value = getattr(self, name)
            if not 0 <= value <= limit:
                raise RequestError(f"--network.{name.replace('_', '-')} is {value}; it must be between 0 and {limit}.")
        choices: dict[str, tuple[Any, str]] = {"norm": ("none", "classic"), "upsampling": ("transposed", "classic")}
        choices |= {"decoder_width": (0, "classic"), "blocks": (1, "residual")}
        choices |= {"activation": ("leaky", "classic and mlp"), "layers": (4, "classic and mlp")}
        for name, (usual, kinds) in choices.items():
            value = getattr(self, name)
            if value != usual and self.kind not in kinds:
                option = f"--network.{name.replace('_', '-')}"
                raise RequestError(f"{option} {value} does not fit --network.kind {self.kind}: it is for {kinds}.")


MOST = 1e15  # of any setting: beyond it numbers only overflow


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


OptimizerName = Literal["muon", "adam", "sgd", "rmsprop"]
Prior = Literal["mixture", "normal", "uniform"]
GANObjective = Literal["relativistic", "saturating", "non-saturating", "hinge", "least-squares", "wasserstein"]
Objective = Literal["calibrated", "squared-error", "mean-squared-error", "laplace", "cross-entropy", "continuous-bernoulli"]


@dataclass(frozen=True)
class AEConfig:
    """How the plain autoencoder is trained."""

    optimizer: Literal["muon", "adam"] = "muon"
    """As for the VAE, so that the two can be compared."""
    batch_size: int = 32
    """Images a step over all devices; as for the VAE."""
    learning_rate: float = 1.5e-3
    """At the start; falls along half a cosine."""
    final_learning_rate: float = 2e-5
    """At the end."""
    average_cap: int = 5_000
    """Longest half-life of the averaged weights [images]."""

    def __post_init__(self) -> None:
        """Refuses what no training can be done with."""
        _check_ranges(self, "ae", positive=("learning_rate", "final_learning_rate", "average_cap"))
        _check_batch(self, "ae")


@dataclass(frozen=True)
class VAEConfig:
    """How the VAE is trained."""

    objective: Objective = "calibrated"
    """What holds reconstructions to images. calibrated: squared error over twice the batch's own error, which needs no weight;
    squared-error: summed over an image; mean-squared-error: averaged, which lets the KL divergence win and the posterior
    collapse; laplace: absolute errors, calibrated; cross-entropy and continuous-bernoulli: on [0, 1]."""
    optimizer: Literal["muon", "adam"] = "muon"
    """muon (Jordan et al. 2024): after 12,000 faces the held-out error is 0.076 with it and 0.090 with adam, and after 30,000
    0.070, for which adam needs 84,000."""
    batch_size: int = 32
    """Images a step over all devices. Muon loses little by larger batches, which two threads work through faster: after 12,000
    faces 0.0772 with 16 and 0.0783 with 32 in three quarters of the time; 0.0844 with 64."""
    learning_rate: float = 1.5e-3
    """At the start; falls along half a cosine. Held-out error after 12,000 faces in batches of 16: 0.080 with 3e-4, 0.078 with
    6e-4, 0.077 with 1.2e-3."""
    final_learning_rate: float = 2e-5
    """At the end: low enough for the noise of small batches to settle."""
    reconstruction_weight: float = 1.0
    """Factor on the reconstruction loss; 0 leaves the KL divergence alone, to see what it does."""
    kl_weight: float = 1.0
    """Factor on the KL divergence. 1 makes the loss a bound on -log p(x); 0 leaves the latents without order."""
    kl_schedule: Literal["linear", "cyclical"] = "linear"
    """linear: the KL divergence is faded in once; cyclical: again and again (Fu et al. 2019), against collapsed posteriors."""
    kl_warmup: float = 0.1
    """Share of the stage (cyclical: of each cycle) over which it is faded in, so that latents are used before they cost."""
    kl_cycles: int = 4
    """Cycles of the cyclical schedule in a stage; four in the paper."""
    free_bits: float = 0.0
    """KL divergence [nats] that each latent dimension has for nothing (Kingma et al. 2016), against collapsed posteriors."""
    samples: int = 1
    """Posterior samples an image. With k > 1 the importance-weighted bound IWAE-k is trained (Burda et al. 2016), which is closer
    to log p(x) and costs k decodings."""
    average_cap: int = 5_000
    """Longest half-life of the averaged weights [images]."""

    def __post_init__(self) -> None:
        """Refuses what no training can be done with."""
        _check_ranges(self, "vae", positive=("learning_rate", "final_learning_rate", "average_cap"))
        _check_batch(self, "vae")
        _check_ranges(self, "vae", positive=("kl_cycles", "samples"), share=("kl_warmup",))
        _check_ranges(self, "vae", not_negative=("reconstruction_weight", "kl_weight", "free_bits"))
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
class HandoverConfig:
    """Which steps of the handover are taken (the others are settings of the GAN)."""

    generator: Literal["decoder", "scratch"] = "decoder"
    """decoder: the generator is the VAE's averaged decoder; scratch: a fresh one, to which nothing else of the VAE is handed
    either, to compare with."""
    whitening: bool = True
    """Change the latent coordinates so that encoded images have mean 0 and covariance 1, as the prior says they have."""
    critic: Literal["encoder", "scratch"] = "encoder"
    """encoder: the critic starts on the encoder's trunk; scratch: a fresh one, whose samples are nearer by some distances and
    grainier to the eye."""


@dataclass(frozen=True)
class GANConfig:
    """How the GAN is trained. Shares are shares of the stage's images."""

    objective: GANObjective = "relativistic"
    """What the players play for. relativistic: pairs of a real and a generated image (R3GAN, Huang et al. 2024), so that a
    dropped mode costs; saturating: the minimax game of 2014, whose generator learns nothing from a critic that is sure;
    non-saturating; hinge; least-squares; wasserstein: with --gan.clip 0.01, or --gan.penalty-kind interpolated and
    --gan.penalty 10."""
    batch_size: int = 32
    """Pairs a step over all devices. From one VAE of anime faces each, against 16 and shorter averages: Frechet distance 0.081
    instead of 0.107 after 24,000 images, 0.083 instead of 0.098 in the same time, the rest alike; a fifth faster."""
    learning_rate: float = 1.8e-3
    """Of the critic, and times generator_rate of the generator, at the start; falls along half a cosine. In a search at width 16
    quick rates led from 4,000 anime faces to 60,000 (docs/handover-log.md)."""
    final_learning_rate: float = 4e-5
    """Of all networks, at the end: low, so that an average is calm. With 1e-5 a net of four pixels stays in short stages."""
    encoder_learning_rate: float = 3e-4
    """Of the refitted encoder, which Muon trains, at the start. Larger steps lose the generator: with Adam at 6e-4 its error in
    low frequencies is 1.65 times the VAE's."""
    generator_rate: float = 1.3
    """The generator's learning rate as a multiple of both: two time scales (Heusel et al. 2017). The best three of the
    search had 1.3 to 1.5; over all of its runs it hardly mattered."""
    critic_rate: float = 1.0
    """The critic's in the same way."""
    generator_optimizer: OptimizerName = "muon"
    """The generator's optimiser. From one VAE, after 45,000 images of anime faces: with muon for both a Frechet distance of 0.18
    and 0.89 of the real sharpness, with adam 0.22 and 0.65."""
    critic_optimizer: OptimizerName = "muon"
    """The critic's; one source trains it with sgd, Wasserstein with clipped weights was published with rmsprop."""
    beta1: float = 0.0
    """First moment of Adam and momentum of Muon: 0, because the players' gradients turn around each other."""
    beta2: float = 0.99
    """Adam's second moment."""
    momentum: float = 0.9
    """Of sgd."""
    critic_steps: int = 1
    """Steps of the critic, each on new images, for one of the generator."""
    prior: Prior = "mixture"
    """What latents are drawn from. mixture: ten Gaussians fitted to the encoded training images when the GAN grows out of a VAE,
    because those do not lie as N(0, I) says (after 18,000 images on anime faces coverage is 0.89 with it and 0.73 without), and
    normal from scratch; normal: N(0, I); uniform on [-1, 1], which a VAE's decoder does not know."""
    temperature: float = 0.92
    """What the kept model's mixture is narrowed to, but in the quarter of the latent directions (of four or more) that change
    coarse images most: lower makes fewer odd samples, and fewer kinds of them. Three runs of four minutes on anime faces:
    coverage 0.937 at 0.92, 0.899 at 1, at a Frechet distance of 0.088 and 0.069 (0.099 where all directions are narrowed to the
    same coverage). Training draws from the whole mixture; `sample --temperature` acts on top."""
    floor: float = 0.06
    """What the generator draws of weak details in its two finest octaves is taken out, as a filter takes out noise of this
    deviation, of values in [-1, 1]: skin and sky become even, and lines stay (docs/handover-log.md). After four
    minutes on anime faces samples had 0.39 of the real flat areas, 0.29 without it; 0.05 and 0.08 did alike, and 0.1
    cost distance. From scratch a GAN learns without, as details that are still weak are learned badly under it. `--gan.equalise`
    puts a steep one under the finest octave when the model is kept. 0: none at any time. Only of networks whose last layer is a
    sub-pixel one (plain)."""
    details: float = 5.0
    """Weight of what keeps fine details from being the same in all samples. A critic sees one image at a time, and not that all
    have the same strokes: with 0 a quarter and more of the finest octave is one picture, which every sample contains. After four
    minutes on anime faces two samples' details are alike to 0.11 with 5 and to 0.29 with 0 (real images 0.04), the Frechet
    distance is 0.074 and 0.087; after 24,000 images 20 drew rougher lines than 3 to 10 did (docs/handover-log.md)."""
    equalise: bool = True
    """Whether the kept model's two finest octaves and its textures of two and of four pixels are scaled, by one number each,
    until samples have the power that training images have, and no more of the textures. Three runs on anime faces with the first
    three numbers: Frechet distance 0.085 instead of 0.12, sharpness 0.98 instead of 0.84; the fourth takes an hour's net of four
    pixels from 1.7 of the real power to 1. The finest octave's floor becomes a steep one then, as high as it takes for details to
    be as concentrated as real ones', but at most 0.1: samples of drawn faces have 1.9 times the flat areas for it, of anime faces
    1.2 times. A training that starts from the model (--init) takes all of it back first. Only of networks whose last layer is a
    sub-pixel one (plain)."""
    penalty: float = 0.1
    """Gradient penalty gamma at the start: keeps recall. With 1 the critic was worse than chance and samples stayed noisy; in
    short stages the lower ones of 0.05 to 0.6 led."""
    final_penalty: float = 0.02
    """Gradient penalty gamma at the end: lower, so that the critic sees detail."""
    penalty_kind: Literal["finite-difference", "exact", "interpolated"] = "finite-difference"
    """exact uses double backward: slower, and the yardstick the other is tested against; interpolated: slope 1 between real and
    generated images (WGAN-GP), with --gan.penalty 10."""
    clip: float = 0.0
    """Weights of the critic are kept within this of 0 (Wasserstein: 0.01); 0 does not clip."""
    penalty_step: float = 0.01
    """Step of the finite difference in float32; bfloat16 takes 5 times as much."""
    drift_weight: float = 0.01
    """Pull of the logits towards 0: the loss sees only their differences."""
    augmentation: float = 0.3
    """Probability of each random change of what the critic sees, at the end of the stage; it rises from 0. On 12,000 images
    samples were sharper with it than without (0.65 against 0.56 of real images)."""
    average_cap: int = 3_500
    """Longest half-life of the averaged weights [images]. The players circle: before the sub-pixel layer an average of 5,000
    cancelled fine texture; in the search for an hour half-lives from 300 to 10,000 hardly mattered, and its best two had 3,200
    and 3,500."""
    blur: float = 1.0
    """Blur of what the critic sees, at the start [pixels]: a VAE's images must not lose by sharpness alone."""
    blur_until: float = 0.2
    """Share of the stage over which the blur fades."""
    jitter: int = 4
    """The critic sees each pair moved by up to so many pixels each way, at random: it would else judge, and the generator learn,
    by where its strides fall. After 12,000 anime faces the distance at full size is 44 with 4 and 65 without, and reconstructions
    are a seventh better; 8 is no better than 4. At most an eighth of the side; 0 moves nothing."""
    critic_warmup: int = 200
    """At most so many steps with the generator held, until the critic tells pairs apart; 0 turns it off. The prototype's, as is
    the ramp: without either, digits come out the same within what seeds differ by (docs/studies/warm-start.md)."""
    critic_warmup_accuracy: float = 0.75
    """Held-out pair accuracy at which the generator is let go."""
    generator_ramp: float = 0.05
    """Share of the stage over which the generator's learning rate rises from 0."""
    anchor: float = 8.0
    """Weight that holds low-passed reconstructions of real images to the originals; 0 turns it off."""
    final_anchor: float = 6.0
    """The same at the end of the stage. It trades recall and distances for coverage and for what comes back of real images:
    after 30,000 anime faces coverage is 0.90 with 5 to 3 and 0.94 with 7 to 6; with 0.1 the GAN unlearns kinds of images that
    its VAE knew."""
    refit_every: int = 4
    """The encoder follows the generator once in so many steps; 0 leaves it the VAE's."""

    def __post_init__(self) -> None:
        """Refuses what no training can be done with."""
        positive = ("learning_rate", "final_learning_rate", "encoder_learning_rate", "generator_rate", "critic_rate")
        positive += ("penalty_step", "average_cap", "critic_steps", "temperature")
        zero_or_more = (
            "penalty",
            "final_penalty",
            "drift_weight",
            "details",
            "clip",
            "blur",
            "jitter",
            "critic_warmup",
            "anchor",
            "final_anchor",
            "refit_every",
        )
        shares = ("augmentation", "blur_until", "critic_warmup_accuracy", "generator_ramp", "floor")
        _check_ranges(self, "gan", positive=positive, not_negative=zero_or_more, share=shares)
        _check_batch(self, "gan", least=2)  # images of a batch are compared
        if self.blur > 16:
            raise RequestError(f"--gan.blur is {self.blur} pixels; 16 is the most.")
        if self.temperature > 10:
            raise RequestError(f"--gan.temperature is {self.temperature:g}; 10 is the most, and 1 changes nothing.")
        for name in ("beta1", "beta2", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise RequestError(f"--gan.{name} is {getattr(self, name)}; it must be at least 0 and under 1.")
        if self.objective == "wasserstein" and self.clip == 0 and self.penalty == 0:
            raise RequestError("--gan.objective wasserstein without bound: give --gan.clip 0.01 or a --gan.penalty over 0.")

    def usual(self) -> "GANConfig":
        """The defaults for everything about how the players play.

        What networks, data and optimisers were built by stays, and how the kept model is finished. The default rates are Muon's:
        slower ones of another optimiser stay.
        """
        stays = ["batch_size", "generator_optimizer", "critic_optimizer", "beta1", "beta2", "momentum"]
        stays += ["prior", "average_cap", "refit_every", "temperature", "floor", "equalise"]
        if {self.generator_optimizer, self.critic_optimizer} != {"muon"}:
            rates = ("learning_rate", "final_learning_rate", "generator_rate", "critic_rate")
            stays += [name for name in rates if getattr(self, name) < getattr(GANConfig, name)]
        return GANConfig(**{name: getattr(self, name) for name in stays})


@dataclass(frozen=True)
class JointConfig:
    """How the joint VAE/GAN is trained (Larsen et al. 2016). Settings named as the GAN's mean the same."""

    objective: GANObjective = "relativistic"
    """What decoder and critic play for, as for the GAN; non-saturating is the paper's."""
    batch_size: int = 16
    """Images a step over all devices; each is reconstructed, and as many are sampled."""
    learning_rate: float = 3e-4
    """Adam's for all networks, at the start; falls along half a cosine."""
    final_learning_rate: float = 1e-4
    """Adam's for all networks, at the end."""
    beta2: float = 0.99
    """Adam's second moment; the first is 0, as for the GAN."""
    kl_weight: float = 1.0
    """Factor on the KL divergence, beside a feature error in units of the features' variance."""
    kl_warmup: float = 0.1
    """Share of the stage over which it is faded in."""
    adversarial_weight: float = 1.0
    """Factor on the adversarial loss of each kind of generated image, beside the relative feature error averaged over the
    features: the paper's 1/gamma, per feature. Not searched yet."""
    feature_stage: int = 2
    """Which of the critic's stages compares reconstructions, counted from 0, the finest: 2 is an eighth of the side."""
    penalty: float = 0.05
    """Gradient penalty gamma at the start."""
    final_penalty: float = 0.015
    """Gradient penalty gamma at the end."""
    penalty_kind: Literal["finite-difference", "exact", "interpolated"] = "finite-difference"
    """As for the GAN."""
    penalty_step: float = 0.01
    """Step of the finite difference in float32; bfloat16 takes 5 times as much."""
    drift_weight: float = 0.01
    """Pull of the logits towards 0, where the objective sees only their differences."""
    augmentation: float = 0.3
    """Probability of each random change of what the critic sees, at the end of the stage; it rises from 0."""
    average_cap: int = 5_000
    """Longest half-life of the averaged weights [images]."""

    def __post_init__(self) -> None:
        """Refuses what no training can be done with."""
        positive = ("learning_rate", "final_learning_rate", "penalty_step", "average_cap")
        not_negative = ("kl_weight", "adversarial_weight", "feature_stage", "penalty", "final_penalty", "drift_weight")
        _check_ranges(self, "joint", positive, not_negative, share=("kl_warmup", "augmentation"))
        _check_batch(self, "joint", least=2)  # as for the GAN
        if not 0 <= self.beta2 < 1:
            raise RequestError(f"--joint.beta2 is {self.beta2}; it must be at least 0 and under 1.")
        if self.objective == "wasserstein" and self.penalty == 0:
            raise RequestError("--joint.objective wasserstein needs a --joint.penalty over 0.")


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
        """Refuses what is no number of processes."""
        for name, value in (("devices", self.devices), ("nodes", self.nodes)):
            if value < 1:
                raise RequestError(f"--{name} is {value}; it must be 1 or more.")


# The GAN's time for an image over the VAE's. Measured: 2.2 to 3.1 by machine, hour and network (the speeds of the main job in
# benchmarks/README.md). Counted comparisons of VAE and GAN rest on it, so it stays what they were made with.
GAN_COST = 2.2
# The same of a GAN that grows out of a VAE over one from scratch: anchor and encoder, before the floor.
GROWN_COST = 1.3


@dataclass(frozen=True)
class Budget:
    """How long training lasts and how the stages share it.

    A GAN that grows out of a VAE that has seen too little stays noise, however long its own share: in the same time and at the
    same learning rate drawn faces have a Frechet distance of 0.32 after 5,400 GAN images on a VAE of 12,000, and of 1.09 after
    8,600 on one of 5,700. So a short run gives the VAE more; a long one, whose VAE has learned what it can, gives the GAN more.
    """

    vae_share_of_time: float = 0.3
    """Share of --minutes that the VAE gets when a GAN follows: on two cores about 30,000 64x64 images of four minutes."""
    vae_share_of_images: float = 0.5
    """Share of --images that the VAE gets where they are many; an image costs it under half of what it costs the GAN."""
    vae_images: int = 24_000
    """Images that the VAE gets in a short run, too, where its share is less, up to --most-vae-time; 0: its share only."""
    most_vae_time: float = 0.6
    """Largest share of --minutes spent on reaching them; of --images it is the share that takes as long."""

    def __post_init__(self) -> None:
        """Refuses shares that leave a stage nothing."""
        for name in ("vae_share_of_time", "vae_share_of_images", "most_vae_time"):
            if not 0 < getattr(self, name) < 1:
                raise RequestError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be between 0 and 1.")
        if self.vae_images < 0:
            raise RequestError(f"--vae-images is {self.vae_images}; it must be 0 or more.")

    def vae_seconds(self, seconds: float, speed: float) -> float:
        """The VAE's part of `seconds` in two stages, if it sees `speed` [images/s]."""
        return max(self.vae_share_of_time * seconds, min(self.vae_images / speed, self.most_vae_time * seconds))

    def vae_part(self, images: int) -> float:
        """The VAE's part of `images` in two stages; an image costs the GAN `GAN_COST` times as much."""
        most = self.most_vae_time / (self.most_vae_time + (1 - self.most_vae_time) / GAN_COST)
        return max(self.vae_share_of_images * images, min(self.vae_images, most * images))


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run learns, except the images themselves."""

    recipe: RecipeName = "vae-gan"
    """vae-gan: a VAE that grows into a GAN; vae or gan: only that; ae: a plain autoencoder, to compare with;
    joint: VAE and GAN at once (Larsen et al. 2016)."""
    seed: int = 0
    """Of every random stream."""
    guards: GuardMode = "act"
    """What is done when training goes wrong: act mends it, warn only says so, off looks away. Every action is recorded."""
    patience: float = 0.0
    """A stage ends when so many passes over the training images brought no better model. 0 trains as long as was asked for:
    the learning rate falls to the end, and the last model is mostly the best. The best one is kept either way."""
    conditional: bool = False
    """Tell the networks each image's label (sub-folder, IDX or .npz label), so that `sample --label` can ask for one."""
    condition: str | None = None
    """Which label, where the images have several; implies --conditional."""
    init_stage: Stage = "vae"
    """Which model of an --init run is the start: its VAE, or its GAN, whose decoder and encoder are then the start."""
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    ae: AEConfig = field(default_factory=AEConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)
    handover: HandoverConfig = field(default_factory=HandoverConfig)
    gan: GANConfig = field(default_factory=GANConfig)
    joint: JointConfig = field(default_factory=JointConfig)
    budget: Budget = field(default_factory=Budget)
    device: DeviceConfig = field(default_factory=DeviceConfig)

    @property
    def is_conditional(self) -> bool:
        """Whether the networks are told labels."""
        return self.conditional or self.condition is not None

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages in order."""
        return tuple(self.recipe.split("-"))
