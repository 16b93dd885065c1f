"""Training: one loop for the model and its baselines. Prediction never imports this package."""
