# The workflow lies in workflow/, where Snakemake's catalogue wants it. This is `include:`, with its default target.
workflow.include("workflow/Snakefile", overwrite_default_target=True)
