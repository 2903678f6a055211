"""What can be done in a model's latent space: pure functions over a `Model`, one topic a file; nothing here prints."""
