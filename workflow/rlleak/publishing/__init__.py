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
        "beyond_table1": "rlleak.publishing.beyond:beyond_table1",
        "reidentification": "rlleak.publishing.reidentification:reidentification",
        "beyond_noise": "rlleak.publishing.beyond:beyond_noise",
        "beyond_architectures": "rlleak.publishing.beyond:beyond_architectures",
        "beyond_batch": "rlleak.publishing.beyond:beyond_batch",
        "defences_rooms": "rlleak.publishing.defences:defences_rooms",
        "defence_costs": "rlleak.publishing.defence_tables:defence_costs",
        "privacy_utility": "rlleak.publishing.privacy_utility:privacy_utility_table",
        **{
            name: f"rlleak.publishing.rgia:{name}"
            for name in ("rgia_main", "rgia_consistency", "rgia_variants", "rgia_batch")
        },
    },
)

FIGURES = Registry(
    "figure",
    {
        "fig1": "rlleak.publishing.attacker_view:fig1",
        "fig3": "rlleak.publishing.gallery:fig3",
        "fig4": "rlleak.publishing.ablation:fig4",
        "beyond_rooms": "rlleak.publishing.beyond_rooms:beyond_rooms",
        "beyond_noise": "rlleak.publishing.beyond_curves:beyond_noise",
        "beyond_batch": "rlleak.publishing.beyond_curves:beyond_batch",
        "defences_rooms": "rlleak.publishing.defences_figure:defences_rooms",
        "defence_costs": "rlleak.publishing.defence_curves:defence_costs",
        "privacy_utility": "rlleak.publishing.privacy_utility_figure:privacy_utility",
        "federated_curves": "rlleak.publishing.federated_curves:federated_curves",
        **{name: f"rlleak.publishing.rgia_figures:{name}" for name in ("rgia_weights", "rgia_prior", "rgia_batch")},
        **{
            name: f"rlleak.publishing.rgia_pictures:{name}"
            for name in ("rgia_clusters", "rgia_pseudo_solutions", "rgia_frames")
        },
    },
)
