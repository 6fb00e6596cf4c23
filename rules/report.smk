# The page that answers the question, from everything that the analysis made.


rule make_report:
    input:
        experiment=DESCRIPTION,
        raw=all_raw_files,
        hosts=expand("results/{env}/host.json", env=EXPERIMENT.environments),
        measurements=MEASUREMENTS,
        statistics=STATISTICS,
        comparisons="results/comparisons.csv",
        claims="results/claims.csv",
        figures=expand("results/{env}/figures", env=EXPERIMENT.environments),
        comparison="results/figures",
        sources=sources("make_report"),
    output:
        report("results/report.html", caption="captions/report.rst"),
    log:
        "logs/make_report.log",
    conda:
        "../envs/pipeline.yaml"
    resources:
        **{experiments.THIS_COMPUTER: 1},
    shell:
        "python scripts/make_report.py --experiment {input.experiment} --results results"
        " --output {output} --log {log}"
