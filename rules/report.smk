# All environments beside each other: comparisons, verdicts, figures, and the page that answers the question.


rule make_report:
    input:
        experiment=DESCRIPTION,
        raw=all_raw_files,
        hosts=expand(result("{env}/host.json"), env=EXPERIMENT.environments),
        tables=expand(
            result("{env}/{table}.csv"),
            env=EXPERIMENT.environments,
            table=["measurements", "statistics"],
        ),
        figures=expand(result("{env}/figures"), env=EXPERIMENT.environments),
        sources=sources("make_report"),
    output:
        comparisons=result("comparisons.csv"),
        claims=result("claims.csv"),
        figures=report(
            directory(result("figures")),
            patterns=["{figure}.svg"],
            caption="captions/comparison.rst",
            category="all environments",
        ),
        page=report(result("report.html"), caption="captions/report.rst"),
    log:
        logged("make_report.log"),
    conda:
        "../envs/pipeline.yaml"
    resources:
        **{experiments.THIS_COMPUTER: 1},
    params:
        results=results_folder,
    shell:
        "python scripts/make_report.py --experiment {input.experiment} --results {params.results}"
        " --output {output.page} --log {log}"
