# Images and hosts: everything that comes before the first measurement.


rule build_guest_image:
    input:
        packages="envs/guest-packages.txt",
        files=[*files_of("guest"), "scripts/hvcost/machines/shell.sh"],
    output:
        "results/guest/disk.qcow2",
        "results/guest/vmlinux",
        "results/guest/initrd.img",
        manifest=GUEST,
    log:
        "logs/build_guest_image.log",
    priority: BUILD_PRIORITY
    conda:
        "../envs/pipeline.yaml"
    # Both images are built at once, however many cores there are: a build waits for network and disks.
    threads: 0
    resources:
        **dict.fromkeys(COMPUTERS, 1),
    params:
        disk_gib=EXPERIMENT.guest["disk_gib"],
        tools=experiments.as_json(experiments.packages_of_guest_image()),
    shell:
        "python scripts/build_guest_image.py --disk-gib {params.disk_gib}"
        " --packages {input.packages} --tools {params.tools:q} --output results/guest --log {log}"


rule build_host_image:
    input:
        packages="envs/host-packages.txt",
        files=files_of("host"),
    output:
        HOST_IMAGE,
    log:
        "logs/build_host_image.log",
    priority: BUILD_PRIORITY
    conda:
        "../envs/pipeline.yaml"
    threads: 0
    resources:
        **dict.fromkeys(COMPUTERS, 1),
    params:
        needed=experiments.as_json(experiments.packages_of_host_image()),
    shell:
        "python scripts/build_host_image.py --packages {input.packages}"
        " --needed {params.needed:q}"
        " --output results/host-image --log {log}"


rule prepare_host:
    input:
        guest=prepared_guest,
        host_image=host_image_manifest,
        packages="envs/host-packages.txt",
    output:
        result("{env}/host.json"),
    log:
        logged("prepare_host/{env}.log"),
    priority: PREPARE_PRIORITY
    conda:
        "../envs/pipeline.yaml"
    resources:
        **{computer: busy(computer) for computer in COMPUTERS},
    params:
        environment=preparation_spec,
        guest=prepared_guest_option,
        host_image=host_image_option,
        state=result("machines"),
    shell:
        "python scripts/prepare_host.py --environment {params.environment:q}"
        " {params.guest} {params.host_image} --packages {input.packages}"
        " --state {params.state}"
        " --output {output} --log {log}"


rule check:
    log:
        logged("check.log"),
    conda:
        "../envs/pipeline.yaml"
    resources:
        **dict.fromkeys(COMPUTERS, WHOLE),
    params:
        environments=ALL_MACHINES,
        packages="envs/host-packages.txt",
    shell:
        "python scripts/check_machines.py --environments {params.environments:q}"
        " --packages {params.packages} --log {log}"


rule restore:
    log:
        logged("restore.log"),
    conda:
        "../envs/pipeline.yaml"
    resources:
        **dict.fromkeys(COMPUTERS, WHOLE),
    params:
        environments=ALL_MACHINES,
    shell:
        "python scripts/restore_hosts.py --environments {params.environments:q} --log {log}"
