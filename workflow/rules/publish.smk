"""
What a reader sees: tables, figures, verdicts on the papers' claims, and the report that holds them all.

Needs the metrics of each experiment's cells; figures of rooms need the images themselves. Everything lies directly in
<published>.
"""

PUBLICATIONS = {
    (publication.kind, publication.name): (experiment, publication)
    for experiment in STUDY.experiments
    for publication in experiment.publishes
}
TABLES = [name for kind, name in PUBLICATIONS if kind == "table"]
FIGURES = [name for kind, name in PUBLICATIONS if kind == "figure"]
PLACE = dict(scale=CONFIG.scale, simulator=CONFIG.simulator)


def metrics_of(experiment):
    """The metrics of every cell and shard of an experiment."""
    return sharded("{base}/metrics/{attack}/{shard}.parquet", STUDY.cells(experiment))


def published_by(kind, wildcards):
    """The experiment and the publication of a table or figure."""
    return PUBLICATIONS[kind, wildcards[kind]]


def description_of(kind):
    """A function that gives the experiment as a dict, without the claims, which change no table and no figure."""
    return lambda wildcards: published_by(kind, wildcards)[0].model_dump(mode="json", exclude={"claims"})


def builder_of(kind):
    """A function that gives the name of what builds a table or figure."""
    return lambda wildcards: published_by(kind, wildcards)[1].builder


def builder_library(script, kind, wildcards):
    """What a table or figure depends on: its script and its builder, not the others'."""
    return library(script, registry(kind).module(published_by(kind, wildcards)[1].builder))


rule tabulate:
    """Making a table."""
    input:
        metrics=lambda wildcards: metrics_of(published_by("table", wildcards)[0].id),
        library=lambda wildcards: builder_library("tabulate.py", "table", wildcards),
    output:
        csv="<published>/tables/{table}.csv",
        tex="<published>/tables/{table}.tex",
        html=report(
            "<published>/tables/{table}.html",
            category="Tables",
            labels={"table": "{table}"},
            caption="../report/table.rst",
        ),
    log:
        "<base>/logs/tabulate/{table}.log",
    benchmark:
        "<base>/benchmarks/tabulate/{table}.tsv"
    wildcard_constraints:
        table="|".join(TABLES),
    params:
        **PLACE,
        experiment=description_of("table"),
        builder=builder_of("table"),
        name="{table}",
    script:
        "../scripts/tabulate.py"


rule plot:
    """Drawing a figure."""
    input:
        metrics=lambda wildcards: metrics_of(published_by("figure", wildcards)[0].id),
        reconstructions=lambda wildcards: sharded(
            "{base}/reconstructions/{attack}/{shard}.safetensors",
            STUDY.cells(published_by("figure", wildcards)[0].id),
        ),
        private=lambda wildcards: sharded(
            "{base}/private/{update}/{shard}.safetensors",
            STUDY.cells(published_by("figure", wildcards)[0].id),
        ),
        library=lambda wildcards: builder_library("plot.py", "figure", wildcards),
    output:
        png=report(
            "<published>/figures/{figure}.png",
            category="Figures",
            labels={"figure": "{figure}"},
            caption="../report/figure.rst",
        ),
        pdf="<published>/figures/{figure}.pdf",
    log:
        "<base>/logs/plot/{figure}.log",
    benchmark:
        "<base>/benchmarks/plot/{figure}.tsv"
    wildcard_constraints:
        figure="|".join(FIGURES),
    params:
        **PLACE,
        experiment=description_of("figure"),
        builder=builder_of("figure"),
        name="{figure}",
    script:
        "../scripts/plot.py"


rule judge:
    """Judging an experiment's claims."""
    input:
        metrics=lambda wildcards: metrics_of(wildcards.experiment),
        library=library("judge.py"),
    output:
        verdicts=report(
            "<published>/verdicts/{experiment}.csv",
            category="Verdicts",
            labels={"experiment": "{experiment}"},
            caption="../report/verdicts.rst",
        ),
    log:
        "<base>/logs/judge/{experiment}.log",
    benchmark:
        "<base>/benchmarks/judge/{experiment}.tsv"
    wildcard_constraints:
        experiment="|".join(experiment.id for experiment in STUDY.experiments),
    params:
        **PLACE,
        experiment=lambda wildcards: STUDY.experiment(wildcards.experiment).model_dump(
            mode="json", exclude={"publishes"}
        ),
        bootstrap_samples=SCALE.bootstrap_samples,
        seed=derive(CONFIG.seeds.attacker, "bootstrap"),
    script:
        "../scripts/judge.py"


rule report:
    """Binding tables, figures, verdicts, rooms and provenance into one page."""
    input:
        verdicts=expand(
            "<published>/verdicts/{experiment}.csv", experiment=[experiment.id for experiment in STUDY.experiments]
        ),
        tables=expand("<published>/tables/{table}.html", table=TABLES),
        figures=expand("<published>/figures/{figure}.png", figure=FIGURES),
        contact_sheet="<base>/rooms/contact_sheet.png",
        statistics="<base>/rooms/statistics.csv",
        detector="<base>/detector.json",
        library=library("report.py"),
    output:
        report="<published>/report.html",
        verdicts="<published>/verdicts.csv",
    log:
        "<base>/logs/report.log",
    benchmark:
        "<base>/benchmarks/report.tsv"
    params:
        configuration=CONFIG.model_dump(mode="json"),
        sizes=SCALE.model_dump(mode="json"),
        captions={name: publication.caption for (_, name), (_, publication) in PUBLICATIONS.items()},
    script:
        "../scripts/report.py"
