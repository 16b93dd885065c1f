"""One page that shows a trained model: what it saw, how well it does, where it fails and how sure it is."""
