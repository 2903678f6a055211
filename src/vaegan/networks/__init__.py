"""Encoder, decoder and critic: modules that know no loss."""

from vaegan.networks.decoder import Decoder
from vaegan.networks.encoder import Critic, Encoder, Gaussian
from vaegan.networks.stages import check_output_range, plan_stages

__all__ = ["Critic", "Decoder", "Encoder", "Gaussian", "check_output_range", "plan_stages"]
