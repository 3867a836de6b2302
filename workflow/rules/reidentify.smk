"""
Re-identification: an onlooker who holds photographs of the candidate homes and says which of them an image shows.

Needs the simulator and labelled views of public rooms. Gives <base>/reidentification/{setting}.safetensors, which
`score` reads for experiments that ask for room_top or target_top metrics. What is learnt is learnt on public rooms; private
rooms are photographed from other poses than any victim's, of the attacker's seed.
"""

HOMES = {"candidates": candidate_layouts(SCALE.candidates.rooms), "public": HELD_OUT}


rule collect_candidates:
    """Photographing homes from all sides: the candidates, or public ones to practise on."""
    input:
        library=library("collect.py", SIMULATOR_MODULE, COLLECTIONS.module("photographs")),
    output:
        photographs="<base>/reidentification/{homes}.photographs.safetensors",
    log:
        "<base>/logs/collect_candidates/{homes}.log",
    benchmark:
        "<base>/benchmarks/collect_candidates/{homes}.tsv"
    wildcard_constraints:
        homes="|".join(HOMES),
    params:
        kind="photographs",
        simulator=CONFIG.simulator,
        simulation=CONFIG.simulation.model_dump(mode="json"),
        layouts=lambda wildcards: HOMES[wildcards.homes],
        per_layout=SCALE.candidates.photographs_per_room,
        seed=lambda wildcards: derive(CONFIG.seeds.attacker, "photographs", wildcards.homes),
    script:
        "../scripts/collect.py"


rule train_matcher:
    """Learning on public rooms what makes two views the same room, and what targets look like."""
    input:
        views="<base>/public/views.safetensors",
        photographs="<base>/reidentification/public.photographs.safetensors",
        library=library("train_matcher.py"),
    output:
        matcher="<base>/reidentification/matcher.{setting}.safetensors",
        scores="<base>/reidentification/matcher.{setting}.json",
    log:
        "<base>/logs/train_matcher/{setting}.log",
    benchmark:
        "<base>/benchmarks/train_matcher/{setting}.tsv"
    params:
        simulator=CONFIG.simulator,
        depth_limit=CONFIG.perception.depth_limit,
        epochs=SCALE.candidates.target_epochs,
        seed=derive(CONFIG.seeds.attacker, "matcher"),
    script:
        "../scripts/train_matcher.py"


rule remember_candidates:
    """Showing the matcher the candidates' photographs: the onlooker."""
    input:
        matcher="<base>/reidentification/matcher.{setting}.safetensors",
        photographs="<base>/reidentification/candidates.photographs.safetensors",
        library=library("remember_candidates.py"),
    output:
        onlooker="<base>/reidentification/{setting}.safetensors",
    log:
        "<base>/logs/remember_candidates/{setting}.log",
    benchmark:
        "<base>/benchmarks/remember_candidates/{setting}.tsv"
    params:
        tilts=list(CONFIG.perception.horizons),
    script:
        "../scripts/remember_candidates.py"
