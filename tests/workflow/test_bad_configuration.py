"""A mistake in the configuration ends in one line that names it, its file and the mend, before anything runs."""

import pytest
import yaml
from checkouts import Checkout, tiny_study

CONFIG, SMOKE, TINY = "config/config.yaml", "config/scales/smoke.yaml", "config/experiments/tiny.yaml"
ATTACKS = "config/attacks.yaml"

LOOPBACK = {
    **{"clients": 2, "learner": "dqn", "network": "mnih2015", "setting": "S1", "round_timeout": 9},
    **{"attack": "peel", "attack_on_mean": "batch_images", "secure_aggregation": {"threshold": 2}},
}

# what is wrong -> (file, key, value, words that the line must hold)
MISTAKES = {
    "misspelt key": (CONFIG, "simulater", "rooms", ["simulater", "did you mean 'simulator'"]),
    "misspelt nested key": (CONFIG, "perception__depth_limt", 3, ["perception", "depth_limt", "'depth_limit'"]),
    "wrong type": (SMOKE, "victims", "many", ["victims", "integer", "many"]),
    "out of range": (CONFIG, "perception__depth_limit", -1, ["perception.depth_limit", "greater than 0", "-1"]),
    "unknown simulator": (CONFIG, "simulator", "unreal", ["simulator", "'rooms' or 'thor'", "unreal"]),
    "unknown scale": (CONFIG, "scale", "tiny", ["scale", "smoke", "tiny"]),
    "unknown experiment": (CONFIG, "experiments", ["qgi_table11"], ["qgi_table11", "did you mean 'qgi_table1'"]),
    "attack over loopback that must be tuned": (
        CONFIG,
        "loopback",
        {**LOOPBACK, "attack": "qgi"},
        ["loopback", "attack 'qgi' is tuned first", "peel"],
    ),
    "threshold that no round can reach": (
        CONFIG,
        "loopback",
        {**LOOPBACK, "secure_aggregation": {"threshold": 3}},
        ["loopback", "threshold 3 of 2 clients"],
    ),
    "shards beyond victims": (SMOKE, "victims_per_shard", 400, ["victims_per_shard", "400", "victims"]),
    "unknown attack": (
        TINY,
        "grid",
        [{"learner": ["dqn"], "attack": ["qgi", "prior_only", "qgj"], "setting": ["S2"]}],
        ["unknown attack 'qgj'", "did you mean 'qgi'"],
    ),
    "unknown setting": (
        TINY,
        "grid",
        [{"learner": ["dqn"], "attack": ["qgi", "prior_only"], "setting": ["S2", "S3"]}],
        ["grid.0.setting.1", "'S1', 'S2'", "S3"],
    ),
    "unknown network": (
        TINY,
        "grid",
        [{"learner": ["dqn"], "attack": ["qgi", "prior_only"], "setting": ["S2"], "network": ["mnih2016"]}],
        ["mnih2016", "did you mean 'mnih2015'"],
    ),
    "attack for another learner": (
        TINY,
        "grid",
        [{"learner": ["reinforce", "dqn"], "attack": ["qgi", "prior_only"], "setting": ["S2"]}],
        ["qgi", "does not take learner 'reinforce'", "dqn"],
    ),
    "attack that reads a bias that is not there": (
        CONFIG,
        "networks__mnih2015__bias",
        False,
        ["mnih2015", "qgi", "bias", "tiny.yaml"],
    ),
    "attack without a stage": (ATTACKS, "qgi", {"method": "qgi"}, ["qgi", "needs a stage 'vector'"]),
    "stage without a step size": (
        ATTACKS,
        "qgi",
        {"method": "qgi", "vector": {"candidates": [0.1]}, "image": {}},
        ["qgi.image", "neither step_size nor candidates"],
    ),
    "unknown metric": (TINY, "metrics", ["iou", "psnr_rbg"], ["psnr_rbg", "did you mean 'psnr_rgb'"]),
    "metric of a claim not measured": (TINY, "metrics", ["psnr_depth"], ["better", "'iou'", "metrics"]),
    "unknown builder": (
        TINY,
        "publishes",
        [{"kind": "table", "name": "t", "builder": "tabel1", "caption": "c"}],
        ["tabel1", "did you mean 'table1'"],
    ),
    "unknown method": (ATTACKS, "qgi__method", "qqi", ["qqi", "did you mean 'qgi'"]),
    "id unlike its file": (TINY, "id", "small", ["small", "tiny"]),
    "network too deep for its image": (
        CONFIG,
        "networks__mnih2015__convolutions",
        [{"channels": 8, "kernel": 8, "stride": 8}] * 4,
        ["networks.mnih2015", "kernel 8"],
    ),
}


@pytest.mark.parametrize(("file", "key", "value", "words"), list(MISTAKES.values()), ids=list(MISTAKES))
def test_a_mistake_ends_in_one_line(checkout: Checkout, file: str, key: str, value: object, words: list[str]) -> None:
    tiny_study(checkout)
    checkout.edit(file, **{key: value})
    line = the_error(checkout)
    assert file in line
    for word in words:
        assert word in line


def test_a_file_that_is_not_yaml_is_named(checkout: Checkout) -> None:
    tiny_study(checkout)
    checkout.path(TINY).write_text("id: [tiny\n")
    assert TINY in the_error(checkout)


def test_a_missing_file_is_named(checkout: Checkout) -> None:
    checkout.path(SMOKE).unlink()
    assert SMOKE in the_error(checkout, "--config", "scale=smoke")


def test_a_mistake_on_the_command_line_is_named(checkout: Checkout) -> None:
    assert "unknown key 'scael'; did you mean 'scale'" in the_error(checkout, "--config", "scael=smoke")


def test_a_claim_outside_the_grid_is_named(checkout: Checkout) -> None:
    tiny_study(checkout)
    content = yaml.safe_load(checkout.path(TINY).read_text())
    content["claims"][0]["left"]["where"]["setting"] = "S1"
    checkout.path(TINY).write_text(yaml.safe_dump(content))
    assert "claim 'better' is about qgi on dqn in S1" in the_error(checkout)


def test_a_figure_of_an_experiment_that_is_not_run_is_named(checkout: Checkout) -> None:
    tiny_study(checkout)
    said = the_error(checkout, "results/smoke/figures/fig3.png")
    assert "experiment 'qgi_fig3' makes it and is not run; add it to experiments" in said
    assert "unknown table or figure 'a_tabel'; did you mean 'a_table'" in the_error(
        checkout, "results/smoke/tables/a_tabel.html"
    )


def test_a_key_that_stands_twice_is_named(checkout: Checkout) -> None:
    with checkout.path(CONFIG).open("a") as file:
        file.write("\nscale: smoke\n")
    assert "'scale' stands twice" in the_error(checkout)


def the_error(checkout: Checkout, *arguments: str) -> str:
    """The one line that a run ends with; a traceback or a second line fails the test."""
    done = checkout.snakemake("--dry-run", *arguments, check=False)
    assert done.returncode != 0
    announcements = ("Using profile", "Config file", "host:")
    lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith(announcements)]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: ")
    return lines[0]
