"""Tables, figures, verdicts and the report: what a reader sees.

A table builder is called with (metrics: DataFrame, experiment: Experiment) and gives a `rlleak.publishing.table.Table`;
a figure builder with (metrics, experiment, views: rlleak.publishing.views.Views) and gives a matplotlib Figure.
"""

from rlleak.registry import Registry

TABLES = Registry(
    "table",
    {
        "table1": "rlleak.publishing.tables:table1",
        "table2": "rlleak.publishing.tables:table2",
        "section5": "rlleak.publishing.tables:section5",
    },
)

FIGURES = Registry(
    "figure",
    {
        "fig1": "rlleak.publishing.attacker_view:fig1",
        "fig3": "rlleak.publishing.gallery:fig3",
        "fig4": "rlleak.publishing.ablation:fig4",
    },
)
