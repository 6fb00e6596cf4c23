# Tables and figures: functions of the raw files alone.


rule parse_repetitions:
    input:
        raw=raw_files,
        # So that a stale host is prepared before a session is repeated, whatever the target is.
        host=result("{env}/host.json"),
        sources=sources("parse_repetitions"),
    output:
        result("{env}/measurements/{system}.csv"),
    log:
        logged("parse_repetitions/{env}/{system}.log"),
    conda:
        "../envs/pipeline.yaml"
    resources:
        **{experiments.THIS_COMPUTER: 1},
    # The plan, and not the files themselves: a command line has room for some 2,900 of them.
    params:
        results=results_folder,
        boots=EXPERIMENT.boots,
        repetitions=EXPERIMENT.repetitions,
        workloads=list(EXPERIMENT.workloads),
    shell:
        "python scripts/parse_repetitions.py --raw {params.results}/{wildcards.env}/raw/{wildcards.system}"
        " --boots {params.boots} --repetitions {params.repetitions} --workloads {params.workloads}"
        " --output {output} --log {log}"


rule describe_experiment:
    input:
        sources=sources("describe_experiment"),
    output:
        DESCRIPTION,
    log:
        logged("describe_experiment.log"),
    conda:
        "../envs/pipeline.yaml"
    resources:
        **{experiments.THIS_COMPUTER: 1},
    params:
        experiment=experiments.as_json(EXPERIMENT.description()),
    shell:
        "python scripts/describe_experiment.py --experiment {params.experiment:q}"
        " --output {output} --log {log}"


rule analyse_environment:
    input:
        tables=tables,
        host=result("{env}/host.json"),
        sources=sources("analyse_environment"),
    output:
        measurements=result("{env}/measurements.csv"),
        statistics=result("{env}/statistics.csv"),
        figures=report(
            directory(result("{env}/figures")),
            patterns=["{figure}.svg"],
            caption="captions/environment.rst",
            category="{env}",
        ),
    log:
        logged("analyse_environment/{env}.log"),
    conda:
        "../envs/pipeline.yaml"
    resources:
        **{experiments.THIS_COMPUTER: 1},
    params:
        results=results_folder,
        environment=figure_spec,
        boots=EXPERIMENT.boots,
        seed=EXPERIMENT.seed,
    shell:
        "python scripts/analyse_environment.py --environment {params.environment:q}"
        " --boots {params.boots} --seed {params.seed} --host {input.host}"
        " --output {params.results}/{wildcards.env} --log {log} -- {input.tables}"
