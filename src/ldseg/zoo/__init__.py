"""Models that come with the package: small, trained on open data, each with a card."""
