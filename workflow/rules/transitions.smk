"""
Attacks on whole transitions (s, a, r, s') of environments: RGIA (He), its baselines, and ours.

Needs shared updates, as every attack does, and transitions that the attacker played itself. Gives priors/{environment},
and in transitions/<update>/{defence} the reconstructions and metrics of all attacks that are asked of the same updates:
they run side by side, as rows of one tensor program.
"""


rule learn_transition_prior:
    """Learning what transitions look like from those that the attacker played itself."""
    input:
        experience="<base>/experience/{environment}/{policy}/prior.safetensors",
        library=library("learn_transition_prior.py"),
    output:
        prior="<base>/priors/{environment}/{policy}/{amount}.safetensors",
    log:
        "<base>/logs/learn_transition_prior/{environment}/{policy}/{amount}.log",
    benchmark:
        "<base>/benchmarks/learn_transition_prior/{environment}/{policy}/{amount}.tsv"
    wildcard_constraints:
        amount="|".join(PRIOR_SIZES),
    resources:
        gpu=on_gpu,
    params:
        epochs=lambda wildcards: SCALE.transitions.of(wildcards.environment).epochs,
        seed=derive(CONFIG.seeds.attacker, "transition prior"),
    script:
        "../scripts/learn_transition_prior.py"


use rule share as share_transitions with:
    input:
        experience=experience_of,
        parameters=parameters_of,
        library=lambda wildcards: library("share.py", loss_of(wildcards), method_of_defence(wildcards)),
    output:
        shared=temp(f"<base>/shared/{TOGETHER}/<update>/{{defence}}/{{shard}}.safetensors"),
    log:
        "<base>/logs/share_transitions/<update>/{defence}/{shard}.log",
    benchmark:
        "<base>/benchmarks/share_transitions/<update>/{defence}/{shard}.tsv"
    params:
        network=network_of,
        normalised=normalised_by,
        updates=updates_together,
        defence=defence_of,
        defence_seed=seed_of(CONFIG.seeds.private, "defence", *MADE_FROM, "defence"),


rule invert_transitions:
    """Inverting shared gradients: whole transitions, by several attacks side by side."""
    input:
        shared=f"<base>/shared/{TOGETHER}/<update>/{{defence}}/{{shard}}.safetensors",
        priors=priors_at,
        library=lambda wildcards: library(
            "invert_transitions.py", *modules_of("attack method on transitions"), method_of_defence(wildcards)
        ),
    output:
        reconstruction=f"<base>/reconstructions/{TOGETHER}/<update>/{{defence}}/{{shard}}.safetensors",
    log:
        "<base>/logs/invert_transitions/<update>/{defence}/{shard}.log",
    benchmark:
        "<base>/benchmarks/invert/transitions/<update>/{defence}/{shard}.tsv"
    priority: 1
    group:
        "attack"
    resources:
        shared_files=1,
        mem_mb=int(1000 * CONFIG.memory_limit_gb) + 2000,
        gpu=on_gpu,
    params:
        attacks=attacks_at,
        seed=seed_of(CONFIG.seeds.attacker, "invert", *MADE_FROM, "defence"),
    script:
        "../scripts/invert_transitions.py"


rule score_transitions:
    """Scoring reconstructed transitions against the truth, with the real simulator as a witness."""
    input:
        reconstruction=f"<base>/reconstructions/{TOGETHER}/<update>/{{defence}}/{{shard}}.safetensors",
        private="<base>/private/<update>/{shard}.safetensors",
        # Public transitions whose deviations are the units of errors, whatever an attack was told.
        units="<base>/priors/{setting}/{policy}/0.3%.safetensors",
        # Whether a victim's transition is among them.
        public="<base>/experience/{setting}/{policy}/prior.safetensors",
        library=lambda wildcards: library(
            "score_transitions.py",
            registry("kind of environment").module(ENVIRONMENTS[wildcards.setting].kind),
            *modules_of("metric of transitions"),
        ),
    output:
        metrics=f"<base>/metrics/{TOGETHER}/<update>/{{defence}}/{{shard}}.parquet",
    log:
        "<base>/logs/score_transitions/<update>/{defence}/{shard}.log",
    benchmark:
        "<base>/benchmarks/score_transitions/<update>/{defence}/{shard}.tsv"
    params:
        axes=lambda wildcards: place_of(wildcards, [axis for axis in AXES if axis != "attack"]),
        thresholds=CONFIG.transition_thresholds.model_dump(mode="json"),
        updates=updates_together,
        defence=defence_of,
    script:
        "../scripts/score_transitions.py"


rule describe_environments:
    """Gathering how good policies are, and how well the attacker foretells what follows."""
    input:
        priors=[f"<base>/priors/{setting}/{policy}/0.3%.safetensors" for setting, policy in LIVED],
        returns=[f"<base>/policies/{setting}.json" for setting, policy in LIVED if policy == "trained"],
        library=library("describe_environments.py"),
    output:
        environments="<base>/environments.csv",
    log:
        "<base>/logs/describe_environments.log",
    benchmark:
        "<base>/benchmarks/describe_environments.tsv"
    params:
        policies=[policy for _, policy in LIVED],
    script:
        "../scripts/describe_environments.py"
