"""Draws what clients saw beside what the server reconstructed."""

from rlleak.artefacts import read_table
from rlleak.attacks.reconstruction import Reconstruction
from rlleak.publishing.drawing import save
from rlleak.publishing.federated_demo import federated_demo
from rlleak.scripting import job
from rlleak.sharing.private import PrivateSide

if __name__ == "__main__":
    with job(snakemake):
        files = snakemake.input
        found = {
            seen: (Reconstruction.load(files[seen]), read_table(files[f"{seen}_metrics"]))
            for seen in ("updates", "mean")
        }
        private = PrivateSide.load(files.private)
        figure = federated_demo(private, **found)
        save(figure, snakemake.output.png)
        save(figure, snakemake.output.pdf)
