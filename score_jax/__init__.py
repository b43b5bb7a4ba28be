"""Score-based diffusion models in JAX: train, sample, measure likelihood and FID."""

__version__ = "0.1.0"
