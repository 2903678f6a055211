"""What recipes are made of: players, priors' latents, critics, terms, views, schedules."""
