"""Every key that a config has, with its default. An experiment starts from here and states only what differs."""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    """The base: DDPM++ on 32 x 32 RGB images under VP, small defaults elsewhere. Locked: new keys are refused."""
    config = ConfigDict()
    config.seed = 42

    # A TFDS name, "digits", "mnist_5k", "dead_leaves", "folder:PATH", or a path to .npz or .npy.
    config.data = data = ConfigDict()
    data.name = "cifar10"
    data.train_split = "train"
    data.eval_split = "test"
    data.data_dir = config_dict.placeholder(str)  # where TFDS keeps its data sets; None: ~/tensorflow_datasets
    data.image_size = 32
    data.channels = 3
    data.crop = 0  # side of the central square that is kept; 0: the largest
    data.resize_filter = "none"  # none, box, bilinear, bicubic, lanczos
    data.value_range = (-1.0, 1.0)  # of the model's images
    data.flip = False  # random horizontal flips in training
    data.dequantize = False  # uniform dequantisation in training

    # ve, vp, sub_vp, edm; vp_chain, ve_chain with num_levels.
    config.process = ConfigDict({"name": "vp", "beta_min": 0.1, "beta_max": 20.0})

    config.network = network = ConfigDict()
    network.name = "ncsnpp"
    network.channels = 128
    network.channel_mult = (1, 2, 2, 2)
    network.num_res_blocks = 4
    network.attention_resolutions = (16,)
    network.dropout = 0.1
    network.embedding = "positional"  # positional, fourier
    network.fourier_scale = 16.0
    network.fir = False
    network.progressive_input = "none"  # none, input_skip, residual
    network.progressive = "none"  # none, output_skip, residual
    network.scale_by_sigma = False
    network.conditional = True
    network.remat = ()  # kinds of blocks to recompute in the backward pass: residual, attention
    network.dtype = "float32"  # compute dtype: float32 or bfloat16

    # output: eps, x0, v, score; label: 999t, sigma, index, index_of_1000, descending_index, noise_to_signal.
    config.prediction = ConfigDict({"output": "eps", "label": "999t"})

    config.loss = loss = ConfigDict()
    loss.likelihood_weighting = False
    loss.time_sampling = "uniform"  # uniform, stratified, stratified_mixture
    loss.t_min = 1e-5
    loss.reduction = "mean"  # over dimensions: mean, or half_sum

    config.optimizer = optimizer = ConfigDict()
    optimizer.name = "adam"  # adam, adamw
    optimizer.learning_rate = 2e-4
    optimizer.b1 = 0.9
    optimizer.b2 = 0.999
    optimizer.eps = 1e-8
    optimizer.weight_decay = 0.0
    optimizer.warmup_steps = 5000
    optimizer.decay = "constant"  # constant, cosine, linear
    optimizer.clip_norm = 1.0

    config.ema = ConfigDict({"decay": 0.9999, "warmup": False})

    config.training = training = ConfigDict()
    training.batch_size = 128
    training.steps = 1_300_001
    training.log_every = 100
    training.checkpoint_every = 10_000
    training.keep = 3
    training.sample_every = 50_000  # 0: no sample grids during training

    config.sampler = sampler = ConfigDict()
    sampler.name = "euler_maruyama"  # euler_maruyama, reverse_diffusion, ancestral, predictor_corrector, ode
    sampler.num_steps = 1000
    sampler.corrector_steps = 1
    sampler.snr = 0.16
    sampler.solver = "tsit5"
    sampler.rtol = 1e-5
    sampler.atol = 1e-5
    sampler.t_min = 1e-3
    sampler.denoise = True

    # label: class of class-conditional samples; -1: each of a class drawn at random.
    config.sampling = ConfigDict({"num_samples": 64, "batch_size": 64, "seed": 0, "label": -1})

    config.likelihood = likelihood = ConfigDict()
    likelihood.num_examples = 0  # of the eval split; 0: all
    likelihood.batch_size = 64
    likelihood.divergence = "rademacher"  # rademacher, gaussian, exact
    likelihood.solver = "dopri5"
    likelihood.rtol = 1e-5
    likelihood.atol = 1e-5
    likelihood.t_min = 1e-5
    likelihood.seed = 0

    config.evaluation = ConfigDict({"num_samples": 1000, "batch_size": 64, "seed": 0})
    return config.lock()


def replace_section(config: ConfigDict, section: str, /, **values) -> None:
    """Gives a section that is `{name, **arguments}` other arguments altogether, e.g. another process."""
    with config.unlocked():
        config[section] = ConfigDict(values)
