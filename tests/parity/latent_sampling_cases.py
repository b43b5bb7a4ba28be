"""Files of latent diffusion's schedules, losses, samplers, averages and learning rates."""

HANDLERS: dict = {}
