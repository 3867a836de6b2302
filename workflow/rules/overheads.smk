"""
What protecting updates costs a client and a server: defences, secure aggregation, encryption. Nobody attacks here.

Needs public transitions, on which updates are computed. Gives <base>/overheads/<update>, one per network, and
<published>/tables/defences_overheads and figures/defences_overheads, where the study has defences.
"""

# As many as eight local steps need, where clients keep so many.
IN_UPDATE = min(8, SCALE.replay.transitions)
# Small, medium, large; a scale says how many of them are measured.
PROTECTED = [
    Cell(learner, network, setting, seed=0, attack=TRAINING, batch=IN_UPDATE)
    for learner, network, setting in (
        ("dqn", "mlp64", "CartPole"),
        ("critic", "mlp256", "Hopper"),
        ("dqn", "mnih2015", "S1"),
    )
    if network in CONFIG.networks
][: SCALE.overheads.networks]
# Where a study has no defences, nobody asks what they cost.
DEFENDED = any(cell.defence != "none" for cell in STUDY.cells())
OVERHEADS = ["defences_overheads"] if DEFENDED and PROTECTED else []
DEMONSTRATIONS |= dict.fromkeys(
    OVERHEADS,
    "What protection costs in a round, of one core's time. Above: secure aggregation (Bonawitz et al. 2017, nobody drops"
    " out) and encryption (CKKS) over the number of clients; the server's time is for all of them. Where a round is too"
    " large to be run whole, one client's work and the server's are measured. Below: defences on a client's update, a dot"
    f" per setting and network, in units of computing the gradient of {IN_UPDATE} transitions (local steps take its place)"
    " and of sending it as it is.",
)


rule measure_overheads:
    """Measuring what protecting a network's updates costs."""
    input:
        experience=replay_of,
        library=lambda wildcards: library("measure_overheads.py", loss_of(wildcards), *modules_of("defence")),
    output:
        overheads="<base>/overheads/<update>.parquet",
    log:
        "<base>/logs/measure_overheads/<update>.log",
    benchmark:
        "<base>/benchmarks/measure_overheads/<update>.tsv"
    params:
        network=network_of,
        transitions=lambda wildcards: int(wildcards.batch),
        defences={name: settings.model_dump(mode="json") for name, settings in STUDY.defences.items()},
        clients=list(SCALE.overheads.clients),
    script:
        "../scripts/measure_overheads.py"


rule publish_overheads:
    """Making the table and drawing the figure of what protection costs."""
    input:
        overheads=[f"<base>/overheads/{cell.update}.parquet" for cell in PROTECTED],
        library=library("publish_overheads.py"),
    output:
        csv="<published>/tables/defences_overheads.csv",
        tex="<published>/tables/defences_overheads.tex",
        html=report(
            "<published>/tables/defences_overheads.html",
            category="Tables",
            labels={"table": "defences_overheads"},
            caption="../report/overheads.rst",
        ),
        png=report(
            "<published>/figures/defences_overheads.png",
            category="Figures",
            labels={"figure": "defences_overheads"},
            caption="../report/overheads.rst",
        ),
        pdf="<published>/figures/defences_overheads.pdf",
    log:
        "<base>/logs/publish_overheads.log",
    benchmark:
        "<base>/benchmarks/publish_overheads.tsv"
    params:
        **PLACE,
        name="defences_overheads",
    script:
        "../scripts/publish_overheads.py"
