# One job is one session: one boot of a system, with all its repetitions.


rule measure_session:
    input:
        host=session_host,
        guest=session_guest,
    output:
        # `update`: what was measured before is lost only when it has been measured again.
        update(
            expand(
                result("{{env}}/raw/{{system}}/boot{{boot}}/{file}"),
                file=SESSION_FILES,
            )
        ),
    log:
        logged("measure_session/{env}/{system}/boot{boot}.log"),
    priority: session_priority
    conda:
        "../envs/pipeline.yaml"
    resources:
        **{computer: busy(computer) for computer in COMPUTERS},
        slurm_extra=node_of_block,
    params:
        session=session_spec,
        plan=PLAN,
        pace=PACE,
        guest=GUEST,
        results=results_folder,
    shell:
        "python scripts/measure_session.py --session {params.session:q} --host {input.host}"
        " --plan {params.plan} --pace {params.pace} --guest {params.guest} --state {params.results}/machines"
        " --since $HVCOST_STARTED_S"
        " --output-dir {params.results}/{wildcards.env}/raw/{wildcards.system}/boot{wildcards.boot}"
        " --log {log}"
