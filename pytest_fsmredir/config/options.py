"""The options as data: each row knows the name, the parser, the field of the settings and the help.

Every option is also an ini key (``fsm_impl``), an environment variable (``FSM_IMPL``) and, with few
exceptions, a key of the options file (``impl``). All of them use the parser of the row. pytest
imports this module in every run of an environment that has the plugin, so it imports little.
"""

from __future__ import annotations

from pytest_fsmredir.config.option import Option
from pytest_fsmredir.config.pod_options import PODS_IN_KUBERNETES, SIDECAR

GROUPS: dict[str, tuple[Option, ...]] = {
    "The run": (
        Option("conformance", "run the conformance suite", "flag", "conformance", in_file=False),
        Option(
            "options",
            "options file: options, implementation, features, waivers",
            "path",
            absent="fsmredir.yaml in the root directory, if there is one",
            metavar="FILE",
            in_file=False,
            again=True,
            never_empty=True,
        ),
        Option(
            "backend",
            "backends to run on: netns (network namespaces), kind, cluster; several make a matrix",
            "backends",
            "backends",
            default="netns",
            metavar="B[,B]",
            many=True,
        ),
        Option(
            "iptables",
            "iptables variants to run on; auto is the default of this machine, both is nft and"
            " legacy, native is nft without iptables",
            "text",
            "iptables",
            choices=("auto", "nft", "legacy", "native", "both"),
            default="auto",
        ),
        Option(
            "ip",
            "IP versions to run on",
            "IP versions",
            "families",
            choices=("4", "6", "both"),
            default="both",
        ),
        Option(
            "privilege",
            "how netns gets its privileges: a user namespace (rootless) or root; auto uses what"
            " works",
            "text",
            "privilege",
            choices=("auto", "rootless", "root"),
            default="auto",
            again=True,
        ),
        Option(
            "timeout",
            "seconds without an answer after which a flow counts as lost",
            "seconds",
            "timeout_s",
            default="5",
            metavar="S",
            again=True,
        ),
    ),
    "The implementation under test": (
        Option(
            "impl",
            "a built-in name, module:attribute, or an entry point",
            "text",
            "impl",
            default="reference",
            metavar="NAME",
            again=True,
            never_empty=True,
        ),
        Option(
            "init-cmd",
            "a shell command that runs in each pod",
            "text",
            "init_cmd",
            metavar="COMMAND",
            again=True,
            never_empty=True,
        ),
        Option(
            "rules",
            "a template of iptables-restore input",
            "path",
            "rules",
            metavar="FILE",
            again=True,
            never_empty=True,
        ),
        Option(
            "replay",
            "a captured pod, which is rebuilt and judged: a file of the command capture",
            "path",
            "replay",
            metavar="FILE",
            again=True,
            never_empty=True,
        ),
        Option(
            "init-image",
            "on kind and cluster: the image of an init container",
            "text",
            "kubernetes.init_image",
            metavar="IMAGE",
            again=True,
            never_empty=True,
        ),
        Option(
            "init-timeout",
            "seconds after which an init command is killed",
            "seconds",
            "init_timeout_s",
            default="30",
            metavar="S",
            again=True,
        ),
        Option(
            "init-privileged",
            "run the init command as a privileged init container: it can write /proc/sys and has"
            " every capability and system call",
            "flag",
            "init_privileged",
            again=True,
        ),
        Option(
            "features",
            "features that the implementation claims: a,b for these alone; +a,-b to change the"
            " defaults (write --fsm-features=-b, with =)",
            "list",
            "features",
            absent="what the implementation declares, or else all",
            metavar="+A,-B",
            many=True,
            again=True,
            united=True,
        ),
    ),
    "The checks": (
        Option(
            "check",
            "run only checks with these ids; * and ? are wildcards",
            "list",
            "checks",
            absent="all",
            metavar="ID[,ID]",
            many=True,
            suite=True,
        ),
        Option(
            "profile",
            "run only these profiles: core, exclusions, inclusions, ipv6, lifecycle, kubernetes",
            "profiles",
            "profiles",
            absent="all",
            metavar="P[,P]",
            many=True,
            suite=True,
        ),
        Option(
            "exhaustive",
            "try every TCP port and every edge of a range instead of samples",
            "flag",
            "exhaustive",
            again=True,
            suite=True,
        ),
        Option(
            "fuzz",
            "number of generated policies to try on each variant, or the first and the last one"
            " (needs the extra fuzz)",
            "policies",
            "fuzz",
            default="0",
            metavar="N|A-B",
            again=True,
            suite=True,
        ),
        Option(
            "seed",
            "seed of the generated policies",
            "whole number",
            "seed",
            default="0",
            metavar="N",
            again=True,
            suite=True,
        ),
    ),
    "The verdict and the report": (
        Option(
            "waivers",
            "file of accepted failures: a list of id, reason, link, expires",
            "waivers",
            "waivers",
            absent="the waivers of the options file",
            metavar="FILE",
            again=True,
            suite=True,
        ),
        Option(
            "strict",
            "count a violated SHOULD as a failure",
            "flag",
            "strict",
            again=True,
            suite=True,
        ),
        Option(
            "require",
            "exit with status 1 unless the verdict is at least this",
            "text",
            "require",
            choices=("none", "partial", "conformant"),
            default="none",
            suite=True,
        ),
        Option(
            "report",
            "write report.html, .yaml and .json, junit.xml and their digests into this directory",
            "path",
            "report",
            absent="no report",
            metavar="DIR",
            suite=True,
        ),
        Option(
            "pause-on-fail",
            "open a shell in the pod of each failed check, and go on when it ends",
            "flag",
            "pause_on_fail",
            in_file=False,
            suite=True,
        ),
        Option(
            "evidence",
            "which checks leave a directory of evidence, in evidence/ of the report or else in"
            " .fsm-evidence/",
            "text",
            "evidence",
            choices=("on-failure", "all", "off"),
            default="on-failure",
            suite=True,
        ),
    ),
    "The benchmark": (
        Option(
            "benchmark",
            "measure what the implementation costs, on netns: latency, rates, time to program, rule"
            " memory; without --fsm-conformance nothing is judged",
            "flag",
            "benchmark",
        ),
        Option(
            "benchmark-entries",
            "numbers of excluded ranges to measure with",
            "entries",
            "benchmark_entries",
            default="0,1,15,100,1000,10000",
            metavar="N[,N]",
        ),
        Option(
            "benchmark-rounds",
            "rounds of measurements at most, for each variant",
            "rounds",
            "benchmark_rounds",
            default="20",
            metavar="N",
        ),
        Option(
            "benchmark-time",
            "seconds after which the benchmark of all variants makes no further pods",
            "seconds",
            "benchmark_time_s",
            default="100",
            metavar="S",
        ),
    ),
    "The sidecar": SIDECAR,
    "Pods on kind and cluster": PODS_IN_KUBERNETES,
}

OPTIONS = tuple(option for options in GROUPS.values() for option in options)

IMPLEMENTATION = ("impl", "init-cmd", "rules", "replay")
"""Options that name the implementation under test; they exclude each other."""
