"""One page that a reviewer can read without anything else: what ran, what was claimed, what came out."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

from rlleak.artefacts import device_name, provenance
from rlleak.errors import CorruptArtefactError
from rlleak.publishing import left_open
from rlleak.publishing.environments import environment_rows
from rlleak.publishing.forest import forest
from rlleak.publishing.labels import provenance_line
from rlleak.publishing.room_quality import detector_scores, statistics_rows
from rlleak.publishing.statements import number
from rlleak.publishing.verdicts import FORETOLD, INCONCLUSIVE, NOT_COMPARABLE, NOT_REPRODUCED, NOT_RUN, VERDICTS

TEMPLATE = "report.html.j2"
OURS = "rlleak"
"""The paper of experiments that are no paper's."""


@dataclass(frozen=True)
class Sources:
    """Files that the page is bound from.

    tables: HTML fragments; figures: PNG; statistics, environments: CSV; detector: JSON.
    """

    tables: Sequence[str | Path] = ()
    figures: Sequence[str | Path] = ()
    contact_sheet: str | Path | None = None
    statistics: str | Path | None = None
    detector: str | Path | None = None
    benchmarks: str | Path | None = None
    """A folder of Snakemake's benchmark files, `<rule>/….tsv` or `<rule>.tsv`; times are left out without it."""
    environments: str | Path | None = None


@dataclass(frozen=True)
class Study:
    """What was asked for: validated configuration, sizes of the scale, captions and experiments."""

    configuration: Mapping[str, Any]
    sizes: Mapping[str, Any] = field(default_factory=dict)
    captions: Mapping[str, str] = field(default_factory=dict)
    experiments: Sequence[Mapping[str, Any]] = ()
    """Each: id, title, paper, cells (their paths), publishes (names), claims ({id: quote}), own (ids of claims that no
    paper makes)."""


def render(verdicts: pd.DataFrame, sources: Sources, study: Study) -> str:
    """The page as HTML; images and style are inside it, and it loads nothing from anywhere."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(default=True, default_for_string=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: "–" if pd.isna(value) else number(value)
    counts = {verdict: int((verdicts["verdict"] == verdict).sum()) for verdict in VERDICTS}
    ours = verdicts["claim"].isin([claim for one in study.experiments for claim in one.get("own", ())])
    refuted = verdicts["verdict"] == NOT_REPRODUCED
    titles = {name: one["title"] for one in study.experiments for name in one["publishes"]}
    return environment.get_template(TEMPLATE).render(
        place=provenance_line(study.configuration["scale"], study.configuration["simulator"]),
        scale=study.configuration["scale"],
        simulator=study.configuration["simulator"],
        iterations=study.sizes.get("iterations"),
        victims=study.sizes.get("victims"),
        run=_run(study),
        counts=counts,
        judged=sum(counts.values()) - counts[NOT_COMPARABLE] - counts[NOT_RUN],
        verdicts=verdicts.to_dict("records"),
        papers=sorted(set(verdicts["paper"])),
        by_origin=_by_origin(verdicts, ours),
        refuted=[
            # The second is folded away.
            ("What the papers say, and this run contradicts", True, verdicts[refuted & ~ours].to_dict("records")),
            ("Claims of ours that this run contradicts", False, verdicts[refuted & ours].to_dict("records")),
        ],
        undecided=_first_reasons(verdicts, INCONCLUSIVE),
        lacking=_lacking(verdicts),
        incomparable=_first_reasons(verdicts, NOT_COMPARABLE),
        unrun=_first_reasons(verdicts, NOT_RUN),
        experiments=study.experiments,
        by_experiment=_by_experiment(verdicts, study.experiments),
        quotes={claim: quote for one in study.experiments for claim, quote in one["claims"].items()},
        forest=lambda row: forest(row["expected"], row["measured"], row["low"], row["high"]),
        titles=titles,
        tables=[(Path(path).stem, Markup(Path(path).read_text())) for path in sources.tables],
        figures=[_figure(path, study.captions) for path in sources.figures],
        contact_sheet=_embedded(sources.contact_sheet) if sources.contact_sheet else None,
        statistics=statistics_rows(sources.statistics) if sources.statistics else None,
        detector=detector_scores(sources.detector) if sources.detector else None,
        environments=environment_rows(sources.environments) if sources.environments else None,
        stages=_stages(Path(sources.benchmarks)) if sources.benchmarks else [],
        minutes=[_minutes(sources.benchmarks, experiment["cells"]) for experiment in study.experiments],
        choices=left_open.choices(study.configuration),
        contradictions=left_open.contradictions(study.configuration),
    )


def _by_origin(verdicts: pd.DataFrame, ours: pd.Series) -> list[tuple[str, dict[str, int]]]:
    """(whose claims, verdict -> how many): each paper's own apart from what we say beside it."""
    found = []
    for paper, theirs in verdicts.groupby("paper", sort=False):
        for is_ours, rows in theirs.groupby(ours[theirs.index]):
            if paper == OURS:
                whose = "ours, past the papers" if is_ours else "the papers', in experiments of ours"
            else:
                whose = f"ours, beside {paper.split(' (')[0]}" if is_ours else paper
            found.append((whose, rows["verdict"].value_counts().to_dict()))
    return found


def _first_reasons(verdicts: pd.DataFrame, verdict: str) -> list[tuple[str, int]]:
    """(why, how many claims) of a verdict, the most frequent first; numbers of victims are left out."""
    reasons = verdicts.loc[verdicts["verdict"] == verdict, "reason"].astype(str).str.split("; ").str[0]
    reasons = reasons.str.replace(r"^\d+ (?=victims|runs)", "", regex=True).str.replace(
        r"^no .*: it runs", "what it needs runs", regex=True
    )
    return list(reasons.value_counts().items())


def _lacking(verdicts: pd.DataFrame) -> tuple[int, int, int]:
    """How many open claims say how many victims would decide them; those that want at most twice, ten times as many."""
    opened = verdicts[verdicts["verdict"] == INCONCLUSIVE]
    foretold = opened["reason"].astype(str).str.extract(FORETOLD)[0].str.replace(",", "").astype(float)
    times = (foretold / opened["n"]).dropna()
    return len(times), int((times <= 2).sum()), int((times <= 10).sum())


def _by_experiment(
    verdicts: pd.DataFrame, experiments: Sequence[Mapping[str, Any]]
) -> list[tuple[str, dict[str, int]]]:
    """(title, verdict -> how many) of each experiment that makes claims."""
    found = []
    for experiment in experiments:
        mine = verdicts[verdicts["claim"].isin(list(experiment["claims"]))]
        if len(mine):
            found.append((experiment["title"], mine["verdict"].value_counts().to_dict()))
    return found


def _run(study: Study) -> list[tuple[str, str]]:
    """What ran, where and when, in the words of a reader."""
    origin = provenance()
    on_gpu = study.configuration.get("device") != "cpu" and torch.cuda.is_available()
    versions = ", ".join(f"{package} {version}" for package, version in origin["versions"].items())
    run = [
        ("simulator", str(study.configuration["simulator"])),
        ("scale", str(study.configuration["scale"])),
        ("revision", origin["revision"]),
        ("device of this page", device_name("cuda" if on_gpu else "cpu")),
        ("versions", versions),
        ("written", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
    ]
    run[2:2] = [(name.replace("_", " "), value) for name, value in _flat(study.sizes)]
    seeds = study.configuration.get("seeds", {})
    return run + [(f"seed, {name}", str(seed)) for name, seed in seeds.items()]


def _flat(content: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested JSON as (name, value) pairs."""
    if isinstance(content, Mapping):
        return [pair for key, value in content.items() for pair in _flat(value, f"{prefix} {key}".strip())]
    if isinstance(content, list) and all(isinstance(item, int | float | str) for item in content):
        return [(prefix, ", ".join(map(_shown, content)))]
    if isinstance(content, list):
        return [pair for index, value in enumerate(content) for pair in _flat(value, f"{prefix} {index}")]
    return [(prefix, _shown(content))]


def _shown(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)


def _figure(path: str | Path, captions: Mapping[str, str]) -> tuple[str, str, str]:
    name = Path(path).stem
    return name, " ".join(captions.get(name, name).split()), _embedded(path)


def _embedded(path: str | Path) -> str:
    """A PNG as a data URI."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise CorruptArtefactError(f"{path} cannot be read ({error.strerror}); delete it and run again") from error
    return f"data:image/png;base64,{b64encode(content).decode()}"


def _stages(folder: Path) -> list[tuple[str, int, float, float]]:
    """(stage, jobs, minutes of all its jobs, largest memory in GB) from Snakemake's benchmark files."""
    found: dict[str, list[tuple[float, float]]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        stage = path.relative_to(folder).parts[0].removesuffix(".tsv")
        table = pd.read_csv(path, sep="\t", na_values="-")
        found.setdefault(stage, []).append((float(table["s"].sum()), float(table["max_rss"].max())))
    return [
        (stage, len(jobs), sum(seconds for seconds, _ in jobs) / 60, max(memory for _, memory in jobs) / 1024)
        for stage, jobs in found.items()
    ]


def _minutes(folder: str | Path | None, cells: Sequence[str]) -> float | None:
    """Minutes that tuning and inverting an experiment's cells took, all jobs added; None if nothing says so."""
    if folder is None:
        return None
    files = [path for cell in cells for path in (Path(folder) / "invert" / cell).glob("*.tsv")]
    files += [path for cell in cells if (path := Path(folder) / "tune" / f"{cell}.tsv").is_file()]
    return sum(float(pd.read_csv(path, sep="\t")["s"].sum()) for path in files) / 60 if files else None
