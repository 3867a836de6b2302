"""
The attacker's and the victims' common ground: what rooms look like, and a detector trained in public ones.

Needs nothing but the simulator. Gives <base>/detector.safetensors and its scores, and a contact sheet of the private
rooms with their image statistics.
"""

from rlleak.simulators import COLLECTIONS
from rlleak.simulators.layouts import candidate_layouts, detector_layouts

SIMULATOR_MODULE = registry("simulator").module(CONFIG.simulator)
# Public rooms: those that the detector learns in, and others.
LEARNT, HELD_OUT = detector_layouts(CONFIG.simulator, SCALE.detector.layouts, SCALE.detector.held_out_layouts)


rule collect_views:
    """Collecting labelled views of public rooms."""
    input:
        library=library("collect.py", SIMULATOR_MODULE, COLLECTIONS.module("views")),
    output:
        views="<base>/public/views.safetensors",
    log:
        "<base>/logs/collect_views.log",
    benchmark:
        "<base>/benchmarks/collect_views.tsv"
    params:
        kind="views",
        simulator=CONFIG.simulator,
        simulation=CONFIG.simulation.model_dump(mode="json"),
        layouts=[*LEARNT, *HELD_OUT],
        per_layout=SCALE.detector.views_per_layout,
        seed=derive(CONFIG.seeds.attacker, "views"),
    script:
        "../scripts/collect.py"


rule train_detector:
    """Training a detector on public rooms, and scoring it on others."""
    input:
        views="<base>/public/views.safetensors",
        library=library("train_detector.py"),
    output:
        detector="<base>/detector.safetensors",
        scores="<base>/detector.json",
    log:
        "<base>/logs/train_detector.log",
    benchmark:
        "<base>/benchmarks/train_detector.tsv"
    params:
        simulator=CONFIG.simulator,
        epochs=SCALE.detector.epochs,
        seed=derive(CONFIG.seeds.attacker, "detector"),
    script:
        "../scripts/train_detector.py"


# The project's rooms are drawn directly, others through their player.
GALLERY_MODULES = [] if CONFIG.simulator == "rooms" else [SIMULATOR_MODULE]


rule gallery:
    """Photographing the private rooms and measuring what their images are like."""
    input:
        library=library("gallery.py", *GALLERY_MODULES),
    output:
        contact_sheet=report(
            "<base>/rooms/contact_sheet.png",
            category="Rooms",
            labels={"what": "contact sheet"},
            caption="../report/contact_sheet.rst",
        ),
        statistics="<base>/rooms/statistics.csv",
        statistics_html=report(
            "<base>/rooms/statistics.html",
            category="Rooms",
            labels={"what": "image statistics"},
            caption="../report/statistics.rst",
        ),
    log:
        "<base>/logs/gallery.log",
    benchmark:
        "<base>/benchmarks/gallery.tsv"
    params:
        simulator=CONFIG.simulator,
        simulation=CONFIG.simulation.model_dump(mode="json"),
    script:
        "../scripts/gallery.py"
