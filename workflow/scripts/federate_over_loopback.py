"""Lets clients and a server train together over loopback, and gathers what the server kept."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rlleak.artefacts import write_json
from rlleak.errors import ProtocolError
from rlleak.federation.flower.processes import federation
from rlleak.federation.flower.task import Task
from rlleak.scripting import job
from rlleak.seeds import derive
from rlleak.sharing.update import SharedUpdate


def main(
    task: Task, experience: Path, seed: int, folder: Path, updates: Path, mean: Path, record: Path
) -> list[dict[str, Any]]:
    """Writes all clients' updates of the plain round to one file, the mean of the other one, and how both went.

    Raises ProtocolError where a client was left out, ResourceError as `federation` and its `run` do.
    """
    told = []
    for client in range(task.clients):
        own = folder / f"client{client}.json"
        knows = {"client": client, "experience": str(experience.resolve()), "seed": derive(seed, client)}
        write_json(own, {**knows, "defence": task.defence})
        told.append({"client": str(own.resolve())})
    with federation(folder / "logs", told) as running:
        went = running.run(task, task.join_timeout + task.rounds * (task.round_timeout + 60))
        print(running.log("run").read_text(errors="replace"))
    kept = Path(task.keeps)
    for happened in went:
        if left_out := [entry["left_out"] for entry in happened["clients"] if "left_out" in entry]:
            raise ProtocolError(
                f"{len(left_out)} of {task.clients} clients were left out of round {happened['round']}: {left_out[0]}"
            )
    own = [SharedUpdate.load(kept / "round0" / f"client{client}.safetensors") for client in range(task.clients)]
    joined(own).save(updates)
    SharedUpdate.load(kept / "round1" / "mean.safetensors").save(mean)
    write_json(record, went)
    return went


def joined(updates: list[SharedUpdate]) -> SharedUpdate:
    """One file of the updates that were made from the same parameters."""
    gradients, known = (
        {name: torch.cat([group(update)[name] for update in updates]) for name in group(updates[0])}
        for group in (lambda update: update.gradients, lambda update: update.known)
    )
    return replace(updates[0], gradients=gradients, known=known)


def asked(params: Mapping[str, Any], folder: Path) -> Task:
    """The task of two rounds that a rule's parameters describe: a plain one, and one behind secure aggregation."""
    return Task(
        network=params["network"],
        defence=params["defence"],
        clients=params["clients"],
        least_clients=params["clients"],
        rounds=2,
        kept_rounds=2,
        plain_rounds=1,
        secure_aggregation=params["secure_aggregation"],
        round_timeout=params["round_timeout"],
        keeps=str((folder / "kept").resolve()),
    )


if __name__ == "__main__":
    with job(snakemake):
        output, params = snakemake.output, snakemake.params
        folder = Path(output.record).parent / "run"
        shutil.rmtree(folder, ignore_errors=True)
        start = time.monotonic()
        files = Path(snakemake.input.experience), params.seed, folder
        main(asked(params, folder), *files, Path(output.updates), Path(output.mean), Path(output.record))
        print(f"{time.monotonic() - start:.1f} s in all")
        shutil.rmtree(folder)
