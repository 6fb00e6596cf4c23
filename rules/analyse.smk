# Tables and figures: functions of the raw files alone.


rule parse_repetitions:
    input:
        raw=raw_files,
        # So that a stale host is prepared before a session is repeated, whatever the target is.
        host="results/{env}/host.json",
        sources=sources("parse_repetitions"),
    output:
        "results/{env}/measurements/{system}.csv",
    log:
        "logs/parse_repetitions/{env}/{system}.log",
    conda:
        "../envs/pipeline.yaml"
    resources:
        **{experiments.THIS_COMPUTER: 1},
    # The plan, and not the files themselves: a command line has room for some 2,900 of them.
    params:
        boots=EXPERIMENT.boots,
        repetitions=EXPERIMENT.repetitions,
        workloads=list(EXPERIMENT.workloads),
    shell:
        "python scripts/parse_repetitions.py --raw results/{wildcards.env}/raw/{wildcards.system}"
        " --boots {params.boots} --repetitions {params.repetitions} --workloads {params.workloads}"
        " --output {output} --log {log}"


rule collect_measurements:
    input:
        tables=tables,
        sources=sources("collect_measurements"),
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


rule describe_experiment:
    input:
        sources=sources("describe_experiment"),
    output:
        DESCRIPTION,
    log:
        "logs/describe_experiment.log",
    conda:
        "../envs/pipeline.yaml"
    resources:
        **{experiments.THIS_COMPUTER: 1},
    params:
        experiment=experiments.as_json(EXPERIMENT.description()),
    shell:
        "python scripts/describe_experiment.py --experiment {params.experiment:q}"
        " --output {output} --log {log}"


rule compute_statistics:
    input:
        measurements="results/{env}/measurements.csv",
        sources=sources("compute_statistics"),
    output:
        "results/{env}/statistics.csv",
    log:
        "logs/compute_statistics/{env}.log",
    conda:
        "../envs/pipeline.yaml"
    resources:
        **{experiments.THIS_COMPUTER: 1},
    params:
        environment=figure_spec,
        boots=EXPERIMENT.boots,
        seed=EXPERIMENT.seed,
    shell:
        "python scripts/compute_statistics.py --environment {params.environment:q}"
        " --boots {params.boots} --seed {params.seed} --measurements {input.measurements} --output {output} --log {log}"


rule compare_systems:
    input:
        experiment=DESCRIPTION,
        measurements=MEASUREMENTS,
        sources=sources("compare_systems"),
    output:
        comparisons="results/comparisons.csv",
        claims="results/claims.csv",
    log:
        "logs/compare_systems.log",
    conda:
        "../envs/pipeline.yaml"
    resources:
        **{experiments.THIS_COMPUTER: 1},
    shell:
        "python scripts/compare_systems.py --experiment {input.experiment}"
        " --comparisons {output.comparisons} --claims {output.claims} {input.measurements} --log {log}"


rule plot_environment:
    input:
        measurements="results/{env}/measurements.csv",
        statistics="results/{env}/statistics.csv",
        host="results/{env}/host.json",
        sources=sources("plot_environment"),
    output:
        report(
            directory("results/{env}/figures"),
            patterns=["{figure}.svg"],
            caption="captions/environment.rst",
            category="{env}",
        ),
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
        " --measurements {input.measurements} --statistics {input.statistics} --host {input.host}"
        " --output {output} --log {log}"


rule plot_comparison:
    input:
        measurements=MEASUREMENTS,
        statistics=STATISTICS,
        sources=sources("plot_comparison"),
    output:
        report(
            directory("results/figures"),
            patterns=["{figure}.svg"],
            caption="captions/comparison.rst",
            category="all environments",
        ),
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
        " --statistics {input.statistics} --output {output} --log {log} -- {input.measurements}"
