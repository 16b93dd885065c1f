"""Training: one loop for the model and its controls. Prediction never imports this room."""
