"""The rows of the options about pods: their sidecar, and pods on kind and cluster."""

from __future__ import annotations

from pytest_fsmredir.config.option import Option

SIDECAR: tuple[Option, ...] = (
    Option(
        "sidecar",
        "sidecar of the pods: our recorder or Pipy; auto is Pipy on kind if Docker has its"
        " image, else the recorder",
        "text",
        "kubernetes.sidecar",
        choices=("auto", "recorder", "pipy"),
        default="auto",
        again=True,
    ),
    Option(
        "pipy-bin",
        "Pipy program for --fsm-sidecar pipy on netns",
        "path",
        "pipy_bin",
        metavar="PATH",
        again=True,
    ),
    Option(
        "pipy-image",
        "Pipy image on kind and cluster",
        "text",
        "kubernetes.pipy_image",
        absent="FSM's",
        metavar="IMAGE",
        again=True,
    ),
)

PODS_IN_KUBERNETES: tuple[Option, ...] = (
    Option(
        "inject",
        "who injects pods: the suite (manual) or the installed mesh (webhook); auto is manual"
        " on kind and webhook on cluster",
        "text",
        "kubernetes.inject",
        choices=("auto", "manual", "webhook"),
        default="auto",
        again=True,
    ),
    Option(
        "nodes",
        "nodes to run on, with a verdict for each: 'all' or names",
        "nodes",
        "kubernetes.nodes",
        absent="any node",
        metavar="all|N[,N]",
        many=True,
    ),
    Option(
        "pod-image",
        "image of pods, with Python 3.11 or newer and iptables",
        "text",
        "kubernetes.pod_image",
        absent="on kind: built on first use",
        metavar="IMAGE",
        again=True,
    ),
    Option(
        "agent",
        "where the probe agent runs in pods of the mesh: as the application (container) or next"
        " to any application (ephemeral)",
        "text",
        "kubernetes.agent",
        choices=("container", "ephemeral"),
        default="container",
        again=True,
    ),
    Option(
        "app-image",
        "image of the application, for --fsm-agent ephemeral",
        "text",
        "kubernetes.app_image",
        metavar="IMAGE",
        again=True,
    ),
    Option(
        "mesh-name",
        "name of the mesh that injects pods in webhook mode",
        "text",
        "kubernetes.mesh_name",
        default="fsm",
        metavar="NAME",
        again=True,
    ),
    Option(
        "mesh-namespace",
        "namespace of that mesh",
        "text",
        "kubernetes.mesh_namespace",
        default="fsm-system",
        metavar="NAME",
        again=True,
    ),
    Option(
        "kubeconfig",
        "kubeconfig of --fsm-backend cluster",
        "path",
        "kubernetes.kubeconfig",
        absent="KUBECONFIG or ~/.kube/config",
        metavar="FILE",
        again=True,
    ),
    Option(
        "context",
        "kubeconfig context",
        "text",
        "kubernetes.context",
        absent="current",
        metavar="NAME",
        again=True,
    ),
    Option(
        "kind-config",
        "configuration of the kind cluster that the run makes",
        "path",
        "kubernetes.kind_config",
        absent="ours",
        metavar="FILE",
        again=True,
    ),
    Option("keep", "keep the pods after the run", "flag", "kubernetes.keep"),
)
