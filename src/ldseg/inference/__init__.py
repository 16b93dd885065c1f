"""From an image to posterior samples, their statistics, and files on the image's own grid. Never trains."""
