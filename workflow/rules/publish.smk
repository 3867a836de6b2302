"""
What a reader sees: tables, figures, verdicts on the papers' claims, and the report that holds them all.

Needs the metrics of each experiment's cells; figures of rooms need the images themselves. Everything lies directly in
<published>.
"""

from rlleak.configuration.targets import check_targets

# Snakemake tells its targets only after the workflow was read, when input functions meet names that do not exist.
with in_one_line():
    check_targets(sys.argv[1:], {*TABLES, *FIGURES, *OVERHEADS, *DEMONSTRATIONS}, Path("config"))


rule tabulate:
    """Making a table."""
    input:
        metrics=lambda wildcards: metrics_of(TABLES[wildcards.table].experiment),
        library=lambda wildcards: library("tabulate.py", builder_of("table", TABLES[wildcards.table])),
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
        experiment=lambda wildcards: TABLES[wildcards.table].experiment.model_dump(mode="json"),
        builder=lambda wildcards: TABLES[wildcards.table].builder,
        name="{table}",
    script:
        "../scripts/tabulate.py"


rule plot:
    """Drawing a figure."""
    input:
        metrics=lambda wildcards: sharded("{base}/metrics/{attack}/{shard}.parquet", cells_of(wildcards)),
        reconstructions=lambda wildcards: sharded(
            "{base}/reconstructions/{attack}/{shard}.safetensors", cells_of(wildcards)
        ),
        private=lambda wildcards: sharded("{base}/private/{update}/{shard}.safetensors", cells_of(wildcards)),
        trained=lambda wildcards: sharded("{base}/metrics/{attack}/{shard}.parquet", cells_of(wildcards, trained=True)),
        curves=lambda wildcards: sharded("{base}/{attack}.parquet", cells_of(wildcards, trained=True)),
        library=lambda wildcards: library("plot.py", builder_of("figure", FIGURES[wildcards.figure])),
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
        experiment=lambda wildcards: FIGURES[wildcards.figure].experiment.model_dump(mode="json", exclude={"claims"}),
        builder=lambda wildcards: FIGURES[wildcards.figure].builder,
        name="{figure}",
    script:
        "../scripts/plot.py"


rule judge:
    """Judging an experiment's claims."""
    input:
        metrics=lambda wildcards: metrics_of(STUDY.experiment(wildcards.experiment)),
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
        experiment="|".join(EXPERIMENTS),
    params:
        **PLACE,
        experiment=lambda wildcards: STUDY.experiment(wildcards.experiment).model_dump(
            mode="json", exclude={"publishes"}
        ),
        bootstrap_samples=SCALE.bootstrap_samples,
        seed=derive(CONFIG.seeds.attacker, "bootstrap"),
    script:
        "../scripts/judge.py"


rule verdicts:
    """Gathering the verdicts on every claim."""
    input:
        verdicts=expand("<published>/verdicts/{experiment}.csv", experiment=EXPERIMENTS),
        library=library("gather_verdicts.py"),
    output:
        verdicts="<published>/verdicts.csv",
    log:
        "<base>/logs/verdicts.log",
    benchmark:
        "<base>/benchmarks/verdicts.tsv"
    script:
        "../scripts/gather_verdicts.py"


rule report:
    """Binding tables, figures, verdicts, rooms and provenance into one page."""
    input:
        verdicts="<published>/verdicts.csv",
        tables=expand("<published>/tables/{table}.html", table=[*TABLES, *OVERHEADS]),
        figures=expand("<published>/figures/{figure}.png", figure=[*FIGURES, *DEMONSTRATIONS]),
        contact_sheet="<base>/rooms/contact_sheet.png",
        statistics="<base>/rooms/statistics.csv",
        detector="<base>/detector.json",
        environments="<base>/environments.csv" if LIVED else [],
        library=library("report.py"),
        template=os.path.relpath(WORKFLOW / "rlleak/publishing/report.html.j2"),
    output:
        report="<published>/report.html",
    log:
        "<base>/logs/report.log",
    benchmark:
        "<base>/benchmarks/report.tsv"
    params:
        configuration=CONFIG.model_dump(mode="json"),
        sizes=SCALE.model_dump(mode="json"),
        captions={
            name: caption_of(made.experiment.model_dump(mode="json", exclude={"claims"}), name, **PLACE, kind="figure")
            for name, made in FIGURES.items()
        }
        | DEMONSTRATIONS,
        experiments=[summary_of(experiment) for experiment in STUDY.experiments],
    script:
        "../scripts/report.py"
