# Tables and figures: functions of the raw files alone.


rule parse_repetitions:
    input:
        raw=raw_files,
        # So that a stale host is prepared before a session is repeated, whatever the target is.
        host="results/{env}/host.json",
        sources=sources("parse_repetitions.py", *RECORD_SOURCES),
    output:
        "results/{env}/measurements/{system}.csv",
    log:
        "logs/parse_repetitions/{env}/{system}.log",
    conda:
        "../envs/pipeline.yaml"
    resources:
        **{experiments.THIS_COMPUTER: 1},
    shell:
        "python scripts/parse_repetitions.py --output {output} {input.raw} --log {log}"


rule collect_measurements:
    input:
        tables=tables,
        sources=sources("collect_measurements.py", *RECORD_SOURCES),
    output:
        "results/{env}/measurements.csv",
    log:
        "logs/collect_measurements/{env}.log",
    conda:
        "../envs/pipeline.yaml"
    resources:
        **{experiments.THIS_COMPUTER: 1},
    shell:
        "python scripts/collect_measurements.py --output {output} {input.tables} --log {log}"


rule plot_environment:
    input:
        measurements="results/{env}/measurements.csv",
        host="results/{env}/host.json",
        sources=sources("plot_environment.py", *RECORD_SOURCES, "hvcost/figures/*.py"),
    output:
        directory("results/{env}/figures"),
    log:
        "logs/plot_environment/{env}.log",
    conda:
        "../envs/pipeline.yaml"
    resources:
        **{experiments.THIS_COMPUTER: 1},
    params:
        environment=figure_spec,
    shell:
        "python scripts/plot_environment.py --environment {params.environment:q}"
        " --measurements {input.measurements} --host {input.host} --output {output} --log {log}"


rule plot_comparison:
    input:
        measurements=expand(
            "results/{env}/measurements.csv", env=EXPERIMENT.environments
        ),
        sources=sources("plot_comparison.py", *RECORD_SOURCES, "hvcost/figures/*.py"),
    output:
        directory("results/figures"),
    log:
        "logs/plot_comparison.log",
    conda:
        "../envs/pipeline.yaml"
    resources:
        **{experiments.THIS_COMPUTER: 1},
    params:
        environments=experiments.as_json(
            [EXPERIMENT.figure_spec(env) for env in EXPERIMENT.environments]
        ),
    shell:
        "python scripts/plot_comparison.py --environments {params.environments:q}"
        " --output {output} {input.measurements} --log {log}"
