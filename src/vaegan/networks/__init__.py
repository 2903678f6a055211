"""Encoder, decoder and critic: modules that know no loss."""

from vaegan.networks.decoder import Decoder
from vaegan.networks.encoder import Critic, Encoder, Gaussian
from vaegan.networks.stages import plan_stages

__all__ = ["Critic", "Decoder", "Encoder", "Gaussian", "plan_stages"]
