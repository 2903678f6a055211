"""One algorithm a file: the VAE, the GAN, and the handover between them."""
