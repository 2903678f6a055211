"""The latent space in a browser: a small server, and a page of plain modules that the HTML export uses too."""
