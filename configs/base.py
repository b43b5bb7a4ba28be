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
    data.low_resolution = 0  # side of the images that a super-resolution model enlarges

    # ve, vp, sub_vp, edm, linear_ve, flow, cosine; vp_chain, ve_chain with num_levels.
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

    # output: eps, x0, v, velocity, score, mean; label: 999t, 999_minus_999t, sigma, index, index_of_1000,
    # descending_index, noise_to_signal.
    config.prediction = ConfigDict({"output": "eps", "label": "999t"})

    config.loss = loss = ConfigDict()
    # denoising, sliced, classifier; on chains also hybrid, vlb; in continuous time also likelihood, exact by the ODE.
    loss.name = "denoising"
    loss.ode_steps = 16  # of likelihood: steps of dopri5, even in log-SNR
    # Of denoising: eps, x0, v, velocity, likelihood, min_snr, truncated_snr, edm.
    loss.weighting = "eps"
    # uniform, stratified, stratified_mixture, log_normal, logit_normal; on chains uniform, antithetic,
    # loss_second_moment.
    loss.time_sampling = "uniform"
    loss.level_mean = -1.2  # of log_normal: mean and standard deviation of log(sigma / alpha)
    loss.level_std = 1.2
    loss.t_min = 1e-5
    loss.reduction = "mean"  # over dimensions: mean, or half_sum
    loss.variance = "learned_range"  # of hybrid and vlb: fixed_small, fixed_large, learned, learned_range
    loss.vb_scale = 0.0  # of hybrid: factor of the bound's term; 0: levels / 1000
    # Share of labels replaced by the network's last class, which then stands for none: for classifier-free guidance.
    loss.label_dropout = 0.0

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
    training.keep = 3  # newest checkpoints that are kept
    training.keep_every = 0  # beside those, each whose step is a multiple; 0: none
    training.checkpoints = ""  # where they go, gs://BUCKET/FOLDER too; "": checkpoints/ in the workdir
    training.accumulate = 1  # parts of the batch computed one after another, to fit into memory
    training.steps_per_dispatch = 1  # that the devices are handed at a time, between logs, checkpoints and samples
    training.fsdp = 1  # devices that share one copy of parameters and optimizer state; 0: all of them
    training.on_nonfinite = "stop"  # where loss or gradient is not finite: stop, or skip the step
    training.sample_every = 50_000  # 0: no sample grids during training
    training.start_from = ""  # workdir of another run, from whose averaged parameters this one starts

    config.sampler = sampler = ConfigDict()
    # euler_maruyama, reverse_diffusion, ancestral, ddim, heun, euler, dpm_solver_2m, dpm_solver_2s, langevin,
    # predictor_corrector, ode.
    sampler.name = "euler_maruyama"
    sampler.num_steps = 1000
    sampler.t_min = 1e-3  # where it ends, in continuous time; chains end in the data
    sampler.denoise = True  # end with the model's x0 at t_min
    sampler.threshold = "none"  # of the predicted x0: none, clip, dynamic
    sampler.temperature = 1.0  # factor on the initial noise
    sampler.initial = "prior"  # prior, or uniform in [0, 1)
    # Times: uniform, quadratic, log_snr; auto: uniform, but of linear_ve, and of reverse_diffusion's probability_flow
    # under flow and cosine, log_snr.
    sampler.grid = "auto"
    sampler.respacing = ""  # of chains: which levels, e.g. "250", "ddim25", "quad25", "10,15,20"; "": num_steps of them
    sampler.variance = "fixed_small"  # of ancestral: fixed_small, fixed_large, learned, learned_range
    sampler.eta = 0.0  # of ddim: 0 deterministic, 1 ancestral
    sampler.probability_flow = False  # of euler_maruyama and reverse_diffusion
    sampler.discretisation = "exact"  # or score_sde: its levels, times and batch-wide Langevin steps, to the digit
    sampler.predictor = "reverse_diffusion"  # of predictor_corrector: a rule above, or none
    sampler.corrector = "langevin"  # langevin, ald, none
    sampler.corrector_steps = 1
    sampler.snr = 0.16
    sampler.step_lr = 2e-5  # of langevin (annealed Langevin dynamics)
    sampler.steps_per_level = 100
    sampler.sigma_min = 0.0  # of heun and euler: noise levels of EDM's grid; 0: those at t_min and t_max
    sampler.sigma_max = 0.0
    sampler.rho = 7.0
    sampler.churn = 0.0  # S_churn, S_min, S_max (0: no bound), S_noise of EDM
    sampler.churn_min = 0.0
    sampler.churn_max = 0.0
    sampler.churn_noise = 1.0
    sampler.solver = "tsit5"  # of ode: tsit5, dopri5, dopri8, bosh3, heun
    sampler.rtol = 1e-5
    sampler.atol = 1e-5

    config.guidance = guidance = ConfigDict()
    guidance.scale = 1.0  # 1: as trained (classifier-free), or the classifier's own posterior
    guidance.sigma_low = 0.0  # classifier-free guidance acts where sigma / alpha is in (low, high]; high 0: no bound
    guidance.sigma_high = 0.0
    guidance.classifier = ""  # workdir of a classifier that guides

    # label: class of class-conditional samples; -1: each of a class drawn at random.
    config.sampling = ConfigDict({"num_samples": 64, "batch_size": 64, "seed": 0, "label": -1})

    # Of edits by text (Blended Diffusion), on images in [-1, 1].
    config.edit = edit = ConfigDict()
    edit.skip = 25  # steps left out at the noisy end: the edit begins with the image at the noise level that follows
    edit.views = 8  # that CLIP looks at, all but one of them warped at random
    edit.text_scale = 1000.0  # factors: of the distance between image and text,
    edit.range_scale = 50.0  # of how far the belief leaves [-1, 1],
    edit.perceptual_scale = 0.0  # and of LPIPS and mean square outside the mask, 0: off; 1000 and 10000 as published
    edit.square_scale = 0.0

    config.likelihood = likelihood = ConfigDict()
    likelihood.method = "ode"  # ode (exact), vlb (of a chain), bound (K of Sohl-Dickstein et al. 2015)
    likelihood.num_examples = 0  # of the eval split; 0: all
    likelihood.batch_size = 64
    likelihood.divergence = "rademacher"  # rademacher, gaussian, orthogonal, hutch_plus_plus, exact
    likelihood.probes = 1  # products with the Jacobian per evaluation; from 2 on their standard error is known
    likelihood.fresh_probes = False  # drawn anew at every time, instead of held fixed along the path
    likelihood.derivative = "auto"  # of those products: forward or reverse mode; auto: the cheaper
    likelihood.solver = "dopri5"  # dopri5, tsit5, dopri8, bosh3, heun, kvaerno5
    likelihood.rtol = 1e-5
    likelihood.atol = 1e-5
    # Step sizes: of each example, of the batch as score_sde has them, or grid, num_steps that no rounding moves.
    likelihood.control = "example"
    likelihood.num_steps = 64  # of grid, even in log-SNR
    likelihood.t_min = 1e-5  # where the path starts; of a chain, in units of its levels
    likelihood.truncation = "none"  # none: the density at t_min; bound: a lower bound on that at 0
    # uniform; variational: noise of a small network that is fitted to the training split once, and tightens the bound.
    likelihood.dequantization = "uniform"
    likelihood.dequantizer_steps = 2000
    likelihood.importance_samples = 1  # dequantisations per example
    likelihood.sensitivity_batches = 1  # batches measured again at tolerances ten times smaller; 0: none
    likelihood.num_levels = 1000  # of vlb and bound, even in log-SNR, where the process is in continuous time
    likelihood.clip = True  # of vlb and bound: x0 held to the data's range, as published bounds are
    likelihood.matmul_precision = "highest"  # or default: TPUs and TF32 then round to bfloat16
    likelihood.dtype = "float32"  # or float64, or mixed: the network in float32, the solve around it in float64
    likelihood.seed = 0

    # batch_size: images at a time on each device, so that the numbers are the same on any number of devices.
    config.evaluation = ConfigDict({"num_samples": 1000, "batch_size": 64, "seed": 0})
    return config.lock()


def set_data(config: ConfigDict, name: str) -> None:
    """Names the data set; a folder of images has no parts, and is trained on and measured as a whole, as published."""
    config.data.name = name
    if name.startswith("folder:"):
        config.data.update(train_split="all", eval_split="all")


def replace_section(config: ConfigDict, section: str, /, **values) -> None:
    """Gives a section that is `{name, **arguments}` other arguments altogether, e.g. another process."""
    with config.unlocked():
        config[section] = ConfigDict(values)
