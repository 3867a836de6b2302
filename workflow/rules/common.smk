"""
What all stages share: the validated study, the paths that their axes give, and what each script depends on.

Gives STUDY (rlleak.configuration.loading.Study), the pathvars <published>, <base>, <update> and <attack>, and helpers
for input functions. A mistake in the configuration ends here, in one line, before anything runs.
"""

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, get_args

WORKFLOW = Path(workflow.current_basedir.get_path_or_uri(secret_free=False)).resolve().parent
# Jobs meet this checkout's library, wherever another copy may be installed.
sys.path.insert(0, str(WORKFLOW))
os.environ.update(PYTHONPATH=os.pathsep.join([str(WORKFLOW), *filter(None, [os.environ.get("PYTHONPATH")])]))

from rlleak.configuration.attacks import PRIOR_SIZES
from rlleak.configuration.axes import AXES, CHANNELS, Policy, TRAINING
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.configuration.files import read_yaml
from rlleak.configuration.general import FederatedFirst
from rlleak.configuration.loading import CRITICS, load_study
from rlleak.configuration.names import registry
from rlleak.configuration.study import TOGETHER
from rlleak.dependencies import library_files
from rlleak.devices import has_gpu
from rlleak.errors import RlleakError
from rlleak.planning import check
from rlleak.publishing.metrics_table import caption_of
from rlleak.seeds import derive


@contextmanager
def in_one_line():
    """Ends the run in one line where a person can mend what is wrong."""
    try:
        yield
    except RlleakError as error:
        sys.exit(f"Error: {error}")


with in_one_line():
    for file in workflow.configfiles:
        # Of a key that stands twice Snakemake takes the last.
        read_yaml(Path(file))
    STUDY = load_study(config, Path("config"))

CONFIG = STUDY.configuration
# Scripts read `snakemake.config`: the private root seed regenerates every room, so none of them finds it there.
config["seeds"] = {"attacker": CONFIG.seeds.attacker}
SCALE = STUDY.scale
RESULTS = f"results/{CONFIG.scale}"
BASE = f"{RESULTS}/{CONFIG.simulator}"


pathvars:
    published=RESULTS,
    base=BASE,
    # As in rlleak.configuration.axes.Cell: what a gradient was made from, and what was done to it and made of it.
    update="{learner}/{network}/{setting}/{policy}/batch{batch}/{actions}/{precision}/seed{seed}",
    attack="{learner}/{network}/{setting}/{policy}/batch{batch}/{actions}/{precision}/seed{seed}/{defence}/{attack}",


wildcard_constraints:
    learner="[a-z_]+",
    network="|".join(CONFIG.networks),
    setting="|".join((*CHANNELS, *ENVIRONMENTS)),
    environment="|".join(ENVIRONMENTS),
    batch=r"\d+",
    actions="any|shared",
    precision="float32|float64",
    defence="|".join(STUDY.defences),
    seed=r"\d+",
    shard=r"\d+",
    policy="|".join(get_args(Policy)),
    attack="|".join(STUDY.attacks),


def library(script, *modules):
    """The script and the library files that it and the given modules import: inputs, so that a change reruns it."""
    # Relative where they lie in the working folder: a folder that is moved stays up to date.
    return [os.path.relpath(file) for file in library_files(WORKFLOW / "scripts" / script, *modules)]


def modules_of(kind):
    """The modules of every name of a kind."""
    return sorted({registry(kind).module(name) for name in registry(kind)})


def method_of(wildcards):
    """The module that implements the attack."""
    return registry("attack method").module(STUDY.attacks[wildcards.attack].method)


def kind_of(wildcards):
    """The module that plays the environment."""
    return registry("kind of environment").module(ENVIRONMENTS[wildcards.environment].kind)


def loss_of(wildcards):
    """The module that implements the learner's loss."""
    return registry("loss").module(wildcards.learner)


def seed_of(root, stage, *axes):
    """A function that derives a job's seed from the axes that its stage depends on, and from no other."""
    return lambda wildcards: derive(root, stage, *(wildcards[axis] for axis in axes))


def experience_of(wildcards):
    """Where the victims' transitions lie: one each, or a client's replay where an update is over several."""
    if wildcards.setting in ENVIRONMENTS:
        return "<base>/experience/{setting}/{policy}/private/{shard}.safetensors"
    if int(wildcards.batch) == 1:
        return "<base>/experience/private/{shard}.safetensors"
    return "<base>/experience/replay/{actions}/{shard}.safetensors"


def public_experience_of(wildcards):
    """Where the attacker's own transitions of the same kind lie."""
    if wildcards.setting in ENVIRONMENTS:
        return "<base>/experience/{setting}/{policy}/public.safetensors"
    if int(wildcards.batch) == 1:
        return "<base>/experience/public.safetensors"
    return "<base>/experience/public_replay/{actions}.safetensors"


def replay_of(wildcards):
    """Where the public transitions lie on which networks are trained."""
    played = wildcards.setting in ENVIRONMENTS
    return f"<base>/experience/{'{setting}/{policy}/public_replay' if played else 'public_replay/any'}.safetensors"


def parameters_of(wildcards):
    """The file with a trained network's parameters; nothing for one that is freshly initialised."""
    trained = CONFIG.networks[wildcards.network].trained
    if not trained:
        return []
    if isinstance(trained, FederatedFirst):
        update = f"{{learner}}/{trained.federation}/{{setting}}/random/batch1/any/float32/seed{{seed}}"
        return f"<base>/{TRAINING}/{update}/none.safetensors"
    if wildcards.learner in CRITICS:
        # A critic learns beside its actor.
        return "<base>/policies/{setting}.safetensors"
    return "<base>/networks/{learner}/{network}/{setting}/{policy}/seed{seed}.safetensors"


def updates_of(wildcards):
    """How many of the shard's updates an attack meets."""
    updates = SCALE.updates(int(wildcards.batch), STUDY.meets_few(wildcards.attack, wildcards.defence))
    return SCALE.in_shard(int(wildcards.shard), updates)


def architecture_of(wildcards):
    """What the victims' network is made of."""
    return CONFIG.networks[wildcards.network].architecture(wildcards.setting)


def normalised_by(wildcards):
    """Whose statistics normalise what the network reads; None: nobody's."""
    return CONFIG.networks[wildcards.network].normalise


def network_of(wildcards):
    """What is trained and how, as `rlleak.sharing.victims.prepare_training` takes it.

    Public, so its seed is the attacker's to know; every learner, attack and victim meets the same network.
    """
    return dict(
        learner=wildcards.learner,
        setting=wildcards.setting,
        # A network is trained before anybody computes a gradient in either precision.
        precision=wildcards.get("precision", "float32"),
        architecture=architecture_of(wildcards),
        constants=getattr(CONFIG.losses, wildcards.learner).model_dump(mode="json"),
        network_seed=derive(CONFIG.seeds.attacker, "network", wildcards.network, wildcards.setting, wildcards.seed),
        depth_limit=CONFIG.perception.depth_limit,
    )


# What a gradient depends on before its victim defends it, and after it was attacked.
MADE_FROM = tuple(axis for axis in AXES if axis not in ("defence", "attack"))
ATTACKED = (*MADE_FROM, "defence", "attack")


def method_of_defence(wildcards):
    """The module that implements the defence."""
    return registry("defence").module(STUDY.defences[wildcards.defence].method)


def defence_of(wildcards):
    """What the victim does to its gradient before it shares it."""
    return STUDY.defences[wildcards.defence].model_dump(mode="json")


def settings_of(wildcards):
    """The attack's settings as configured; with all that its stages need where there is nothing to choose among."""
    settings = STUDY.attacks[wildcards.attack]
    if not STUDY.is_tuned(wildcards.attack):
        for name, count in iterations_of("")(wildcards).items():
            if name in settings.stages:
                settings = settings.with_stage(name, **settings.stages[name].tries[0], iterations=count)
    return settings.model_dump(mode="json")


def tuned_of(wildcards):
    """The file of settings that the attacker tuned; nothing for attacks that leave nothing to tune."""
    return "<base>/tuned/<attack>.json" if STUDY.is_tuned(wildcards.attack) else []


def public_of(wildcards):
    """What the attacker remembers of its own rooms, for attacks that are told it: the same under every defence."""
    return "<base>/public/rooms/<update>.safetensors" if STUDY.is_told(wildcards.attack, "public") else []


def prior_of(wildcards):
    """What the attacker learnt of how rooms look, for attacks that are told it.

    Not in S2, where equations are many and decide (`rlleak.attacks.first_layer.chosen`); of games there are no views.
    """
    told = STUDY.is_told(wildcards.attack, "prior") and wildcards.setting == "S1"
    return "<base>/public/prior.{setting}.safetensors" if told else []


def iterations_of(kind):
    """Iterations of the attack (kind '') or of each try of the search before it ('search_'), by stage."""

    def iterations(wildcards):
        settings = STUDY.attacks[wildcards.attack]
        size = "search_" if settings.short else kind
        stages = {stage: getattr(SCALE.iterations, f"{size}{stage}") for stage in ("vector", "image")}
        if settings.joint and not kind:
            # Compared methods get equal gradient evaluations; a joint attack spends all of them on its one stage.
            stages["image"] += stages["vector"]
        return stages

    return iterations


def on_gpu(wildcards=None):
    """1 if attacks run on a GPU here: asked for, or chosen by `auto` because there is one."""
    return int(CONFIG.device == "cuda" or (CONFIG.device == "auto" and has_gpu()))


class Made(NamedTuple):
    """A table or figure, and the experiment that it is made from."""

    experiment: object
    builder: str
    caption: str


def made(kind):
    """Every table or figure of the study, by name."""
    return {
        publication.name: Made(experiment, publication.builder, publication.caption)
        for experiment in STUDY.experiments
        for publication in experiment.publishes
        if publication.kind == kind
    }


EXPERIMENTS = [experiment.id for experiment in STUDY.experiments]
TABLES, FIGURES = made("table"), made("figure")
# Figures of no experiment, and their captions.
DEMONSTRATIONS = {}
if CONFIG.loopback:
    DEMONSTRATIONS["federated_demo"] = (
        "What clients saw in their rooms beside what an honest-but-curious server reconstructed from the update that each"
        " sent it over loopback in a plain round, and from their sum, which is all that it learnt in a round of secure"
        f" aggregation, rounded to {CONFIG.loopback.secure_aggregation.bits} bits, which is a noise of its own. Under each"
        " reconstruction its PSNR on the pixels that the network reads and the IoU of its box;"
        " boxes: true dashed, reconstructed orange; a black image: nothing was told apart."
    )
PLACE = dict(scale=CONFIG.scale, simulator=CONFIG.simulator)


def builder_of(kind, published):
    """The module that builds a table or figure."""
    return registry(kind).module(published.builder)


def sharded(pattern, cells):
    """The paths of a pattern for every cell and shard."""
    return [
        pattern.format(base=BASE, update=update, attack=attack, shard=shard)
        # Attacks that run side by side share a path.
        for update, attack, shards in dict.fromkeys(
            (cell.update, STUDY.path(cell), STUDY.shards(cell)) for cell in cells
        )
        for shard in shards
    ]


def metrics_of(experiment):
    """The metrics of every cell and shard of an experiment."""
    return sharded("{base}/metrics/{attack}/{shard}.parquet", STUDY.cells(experiment.id))


def cells_of(wildcards, trained=False):
    """The cells of a figure's experiment whose updates are attacked, or those that are trainings."""
    cells = STUDY.cells(FIGURES[wildcards.figure].experiment.id)
    return [cell for cell in cells if STUDY.trains(cell.attack) == trained]


def look_before_starting():
    """Ends the run in one line if this machine lacks what its jobs need."""
    stages = {job.rule.name for job in workflow.dag.needrun_jobs()}
    with in_one_line():
        check(STUDY, Path(RESULTS), stages, workflow.resource_settings.cores or 1)


def place_of(wildcards, axes=AXES):
    """Where a score's rows stand in the study."""
    numbers = {axis: int(wildcards[axis]) for axis in ("seed", "batch")}
    return {**PLACE, **{axis: wildcards[axis] for axis in axes}, **numbers}


def asks_who(experiment):
    """Whether an experiment asks which room or target an image shows."""
    return any(metric.startswith(("room_top", "target_top")) for metric in experiment.metrics)


IDENTIFIED = {
    tuple(str(getattr(cell, axis)) for axis in AXES)
    for experiment in filter(asks_who, STUDY.experiments)
    for cell in STUDY.cells(experiment.id)
}


def onlooker_of(wildcards):
    """Who says which room an image shows, where an experiment asks for it; there is none for games."""
    asked = tuple(wildcards[axis] for axis in AXES) in IDENTIFIED
    return "<base>/reidentification/{setting}.safetensors" if asked and wildcards.setting in CHANNELS else []


def summary_of(experiment):
    """What the report's appendix says about an experiment."""
    return {
        **experiment.model_dump(mode="json", include={"id", "title", "paper"}),
        "claims": {claim.id: claim.quote for claim in experiment.claims},
        "own": [claim.id for claim in experiment.claims if claim.source == "ours"],
        "cells": list(dict.fromkeys(map(STUDY.path, STUDY.cells(experiment.id)))),
        "publishes": [publication.name for publication in experiment.publishes],
    }
