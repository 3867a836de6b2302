"""Makes the table and draws the figure of what protection costs."""

from rlleak.artefacts import write_text
from rlleak.publishing.drawing import save
from rlleak.publishing.labels import provenance_line
from rlleak.publishing.overheads import overheads_figure, overheads_table, read_overheads
from rlleak.scripting import job

if __name__ == "__main__":
    with job(snakemake):
        params, output = snakemake.params, snakemake.output
        overheads = read_overheads(snakemake.input.overheads)
        table, figure = overheads_table(overheads), overheads_figure(overheads)
        caption = f"What protecting updates costs in a round ({provenance_line(params.scale, params.simulator)})."
        write_text(output.csv, table.to_csv())
        write_text(output.tex, table.to_latex(caption, params.name))
        write_text(output.html, table.to_html(caption))
        save(figure, output.png)
        save(figure, output.pdf)
