# What hypervisors cost in network performance: what is built, in order.
from snakemake.utils import min_version

min_version("9.27")


# A configuration on the command line takes the place of the default one; it is not merged into it.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "rules/common.smk"


rule all:
    input:
        expand(result("{env}/figures"), env=EXPERIMENT.environments),
        result("figures"),
        result("report.html"),


# What is made of results takes seconds, also where sessions are sent to the nodes of a cluster.
localrules:
    all,
    check,
    restore,
    parse_repetitions,
    describe_experiment,
    analyse_environment,
    make_report,


include: "rules/prepare.smk"
include: "rules/measure.smk"
include: "rules/analyse.smk"
include: "rules/report.smk"
