"""
What the attacker knows before any update: how rooms look.

Needs the public views that `collect` gives. Gives <base>/public/prior.{setting}.safetensors, a denoiser for what a
policy network reads in that setting.
"""


rule learn_prior:
    """Learning a prior over images on the attacker's own public rooms."""
    input:
        views="<base>/public/views.safetensors",
        library=library("learn_prior.py"),
    output:
        prior="<base>/public/prior.{setting}.safetensors",
    log:
        "<base>/logs/learn_prior/{setting}.log",
    benchmark:
        "<base>/benchmarks/learn_prior/{setting}.tsv"
    resources:
        gpu=on_gpu,
    params:
        simulator=CONFIG.simulator,
        depth_limit=CONFIG.perception.depth_limit,
        iterations=SCALE.prior_iterations,
        seed=seed_of(CONFIG.seeds.attacker, "prior", "setting"),
    script:
        "../scripts/learn_prior.py"
