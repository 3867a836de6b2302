"""
The demonstration: clients in private rooms train with an honest-but-curious server, each a process of its own, over
loopback.

Needs the first victims' experience. Gives in <base>/loopback what the server kept, all that `invert_captured` reads
besides the attacker's prior: each client's update, of a plain round, and their mean, from the sum of a round behind secure
aggregation. Gives <published>/figures/federated_demo.
"""


rule federate_over_loopback:
    """Training together over loopback, first in the open, then behind secure aggregation; the server keeps what arrives."""
    input:
        # Each client reads its own transition; the server reads nothing.
        experience="<base>/experience/private/0.safetensors",
        library=lambda wildcards: library(
            "federate_over_loopback.py", loss_of(wildcards), method_of_defence(wildcards), *APPS
        ),
    output:
        updates=temp("<base>/loopback/<update>/{defence}/updates.safetensors"),
        mean=temp("<base>/loopback/<update>/{defence}/mean.safetensors"),
        record="<base>/loopback/<update>/{defence}/record.json",
    log:
        "<base>/logs/federate_over_loopback/<update>/{defence}.log",
    benchmark:
        "<base>/benchmarks/federate_over_loopback/<update>/{defence}.tsv"
    resources:
        shared_files=1,
    params:
        network=network_of,
        clients=SHOWN.clients,
        round_timeout=SHOWN.round_timeout,
        secure_aggregation=SHOWN.secure_aggregation.model_dump(),
        defence=defence_of,
        # Private: each client draws its own from it.
        seed=seed_of(CONFIG.seeds.private, "loopback", *MADE_FROM, "defence"),
    script:
        "../scripts/federate_over_loopback.py"


rule invert_captured:
    """Inverting what the server kept."""
    input:
        shared="<base>/loopback/<update>/{defence}/{seen}.safetensors",
        prior=prior_of,
        library=lambda wildcards: library("invert.py", method_of(wildcards)),
    output:
        reconstruction="<base>/loopback/<attack>/{seen}.safetensors",
    log:
        "<base>/logs/invert_captured/<attack>/{seen}.log",
    benchmark:
        "<base>/benchmarks/invert_captured/<attack>/{seen}.tsv"
    wildcard_constraints:
        seen="|".join(CELLS),
    resources:
        mem_mb=int(1000 * CONFIG.memory_limit_gb) + 2000,
        gpu=on_gpu,
    params:
        settings=settings_of,
        seed=seed_of(CONFIG.seeds.attacker, "invert captured", *ATTACKED),
    script:
        "../scripts/invert.py"


rule score_captured:
    """Scoring what the server reconstructed against what the clients saw."""
    input:
        reconstruction="<base>/loopback/<attack>/{seen}.safetensors",
        private="<base>/private/<update>/0.safetensors",
        library=lambda wildcards: library("score_captured.py", method_of_defence(wildcards), *modules_of("metric")),
    output:
        metrics="<base>/loopback/<attack>/{seen}.parquet",
    log:
        "<base>/logs/score_captured/<attack>/{seen}.log",
    benchmark:
        "<base>/benchmarks/score_captured/<attack>/{seen}.tsv"
    wildcard_constraints:
        seen="|".join(CELLS),
    params:
        architecture=architecture_of,
        axes=place_of,
        clients=SHOWN.clients,
        defence=defence_of,
    script:
        "../scripts/score_captured.py"


rule plot_federated_demo:
    """Drawing what clients saw beside what the server reconstructed."""
    input:
        **captured("safetensors"),
        **{f"{seen}_metrics": file for seen, file in captured("parquet").items()},
        private=f"<base>/private/{CELLS['updates'].update}/0.safetensors",
        library=library("plot_federated_demo.py"),
    output:
        png=report(
            "<published>/figures/federated_demo.png",
            category="Figures",
            labels={"figure": "federated_demo"},
            caption="../report/federated_demo.rst",
        ),
        pdf="<published>/figures/federated_demo.pdf",
    log:
        "<base>/logs/plot_federated_demo.log",
    benchmark:
        "<base>/benchmarks/plot_federated_demo.tsv"
    script:
        "../scripts/plot_federated_demo.py"
