# One job is one session: one boot of a system, with all its repetitions.


rule measure_session:
    input:
        host=session_host,
        guest=session_guest,
    output:
        # `update`: what was measured before is lost only when it has been measured again.
        update(
            expand(
                "results/{{env}}/raw/{{system}}/boot{{boot}}/{file}",
                file=SESSION_FILES,
            )
        ),
    log:
        "logs/measure_session/{env}/{system}/boot{boot}.log",
    priority: session_priority
    conda:
        "../envs/pipeline.yaml"
    resources:
        **{computer: busy(computer) for computer in COMPUTERS},
    params:
        session=session_spec,
        plan=PLAN,
        guest=GUEST,
    shell:
        "python scripts/measure_session.py --session {params.session:q} --host {input.host}"
        " --plan {params.plan} --guest {params.guest} --state results/machines"
        " --output-dir results/{wildcards.env}/raw/{wildcards.system}/boot{wildcards.boot}"
        " --log {log}"
