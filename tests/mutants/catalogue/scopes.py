"""Faults of the sources of the lists: the pod's annotations, the MeshConfig and their merge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from pytest_fsmredir.model.configuration import PORT_LISTS, Configuration
from pytest_fsmredir.model.policy import ListName, Policy
from tests.mutants.mutant import Mutant, Read
from tests.mutants.policies import items

_POD_LISTS = tuple(name for name in ListName if name.annotation)

Merge = Callable[[Configuration], Configuration]


def _reading(change: Merge) -> Read:
    def read(configuration: Configuration, earlier: Sequence[Configuration]) -> Policy:
        del earlier
        return change(configuration).policy()

    return read


def _without_annotations(*names: ListName) -> Merge:
    """Ignore some annotations."""
    keys = {name.annotation for name in names}

    def change(configuration: Configuration) -> Configuration:
        kept = {k: v for k, v in configuration.annotations.items() if k not in keys}
        return Configuration(kept, configuration.traffic)

    return change


def _without_mesh(*names: ListName) -> Merge:
    """Ignore some lists of the MeshConfig."""
    keys = {name.mesh_config_key for name in names}

    def change(configuration: Configuration) -> Configuration:
        kept = {k: v for k, v in configuration.traffic.items() if k not in keys}
        return Configuration(configuration.annotations, kept)

    return change


def _pod_replaces_mesh(*names: ListName) -> Merge:
    """Ignore the mesh's list if the pod has one."""

    def change(configuration: Configuration) -> Configuration:
        own = [name for name in names if name.annotation in configuration.annotations]
        return _without_mesh(*own)(configuration)

    return change


def _mesh_replaces_pod(*names: ListName) -> Merge:
    """Ignore the pod's list if the mesh has one."""

    def change(configuration: Configuration) -> Configuration:
        given = [name for name in names if configuration.traffic.get(name.mesh_config_key)]
        return _without_annotations(*given)(configuration)

    return change


def _mesh_dropped_with_other_list(other: ListName, name: ListName) -> Merge:
    """Ignore one list of the mesh if the pod has another list, and not this one."""

    def change(configuration: Configuration) -> Configuration:
        given = configuration.annotations
        alone = other.annotation in given and name.annotation not in given
        return _without_mesh(name)(configuration) if alone else configuration

    return change


def _mesh_cut(name: ListName, count: int) -> Merge:
    """Read only the first items of one list of the mesh."""

    def change(configuration: Configuration) -> Configuration:
        lists = {name.mesh_config_key: [*configuration.traffic.get(name.mesh_config_key, ())]}
        cut = {key: listed[:count] for key, listed in lists.items() if listed}
        return Configuration(configuration.annotations, {**configuration.traffic, **cut})

    return change


def _cleared_by_empty(configuration: Configuration) -> Configuration:
    """Read an empty annotation as an order to clear the list."""
    given = configuration.annotations
    empty = [name for name in _POD_LISTS if name.annotation and given.get(name.annotation) == ""]
    return _without_mesh(*empty)(_without_annotations(*empty)(configuration))


def _any_annotation_replaces_mesh(configuration: Configuration) -> Configuration:
    """Ignore the whole MeshConfig if the pod has any annotation."""
    annotated = any(name.annotation in configuration.annotations for name in _POD_LISTS)
    return Configuration(configuration.annotations, {} if annotated else configuration.traffic)


def _only_in_both(configuration: Configuration) -> Configuration:
    """If both scopes have a list, keep only the items in both."""
    annotations = dict(configuration.annotations)
    traffic = dict(configuration.traffic)
    for name in _POD_LISTS:
        if name.annotation in annotations and traffic.get(name.mesh_config_key):
            own = [item.strip() for item in annotations[name.annotation].split(",")]
            both = [str(v) for v in traffic[name.mesh_config_key] if str(v) in own]
            del annotations[name.annotation]
            traffic[name.mesh_config_key] = both
    return Configuration(annotations, traffic)


def _of_all_pods(configuration: Configuration, earlier: Sequence[Configuration]) -> Policy:
    """Apply the annotations of all earlier pods to this one too."""
    policies = [one.policy() for one in (*earlier, configuration)]
    changed = policies[-1]
    for name in (*PORT_LISTS, ListName.OUTBOUND_IP_RANGE_EXCLUSION):
        every = [item for policy in policies for item in getattr(policy, name.value)]
        changed = items(name, lambda _, every=every: tuple(dict.fromkeys(every)))(changed)  # type: ignore[misc]
    return changed


def _of_previous_pod(configuration: Configuration, earlier: Sequence[Configuration]) -> Policy:
    """Use the MeshConfig of the previous pod."""
    traffic = earlier[-1].traffic if earlier else configuration.traffic
    return Configuration(configuration.annotations, traffic).policy()


def _of_first_pod(configuration: Configuration, earlier: Sequence[Configuration]) -> Policy:
    """Read the MeshConfig once, for the first pod."""
    traffic = earlier[0].traffic if earlier else configuration.traffic
    return Configuration(configuration.annotations, traffic).policy()


def _swapped_keys(pairs: Mapping[ListName, ListName]) -> Merge:
    """Read annotations under each other's names."""

    def change(configuration: Configuration) -> Configuration:
        renamed = {a.annotation: b.annotation for a, b in pairs.items()}
        annotations = {
            renamed.get(key, key) or key: value for key, value in configuration.annotations.items()
        }
        return Configuration(annotations, configuration.traffic)

    return change


def _one_list(name: ListName) -> Iterator[Mutant]:
    short = name.value.removesuffix("_list").replace("_", "-")
    words = name.value.replace("_", " ")
    yield Mutant(
        name=f"annotation-ignored-{short}",
        what=f"the pod's {words} is ignored",
        source="B09: istio/istio 38415, 38588, 30280",
        read=_reading(_without_annotations(name)),
    )
    yield Mutant(
        name=f"mesh-ignored-{short}",
        what=f"the mesh's {words} is ignored",
        source="B09: istio/istio 38415",
        read=_reading(_without_mesh(name)),
    )
    yield Mutant(
        name=f"pod-replaces-mesh-{short}",
        what=f"the pod's {words} takes the place of the mesh's",
        source="S-SCOPE; Istio's annotations replace the mesh's settings",
        read=_reading(_pod_replaces_mesh(name)),
    )
    yield Mutant(
        name=f"mesh-replaces-pod-{short}",
        what=f"the mesh's {words} takes the place of the pod's",
        source="S-SCOPE: B09: istio/istio 30280",
        read=_reading(_mesh_replaces_pod(name)),
    )
    yield Mutant(
        name=f"mesh-cut-at-8-{short}",
        what=f"of the mesh's {words} only the first eight items have an effect",
        source="B01: a fixed number of slots",
        read=_reading(_mesh_cut(name, 8)),
    )
    for other in _POD_LISTS:
        if other is not name:
            kept = other.value.removesuffix("_list").replace("_", "-")
            yield Mutant(
                name=f"mesh-{short}-dropped-with-pod-{kept}",
                what=f"a pod with only an {other.value.replace('_', ' ')} loses the mesh's {words}",
                source="S-SCOPE; a tester's broken implementation",
                read=_reading(_mesh_dropped_with_other_list(other, name)),
            )


MUTANTS = (
    *(mutant for name in _POD_LISTS for mutant in _one_list(name)),
    Mutant(
        name="annotations-ignored",
        what="all annotations are ignored",
        source="B09: istio/istio 38588",
        read=_reading(_without_annotations(*_POD_LISTS)),
    ),
    Mutant(
        name="mesh-config-ignored",
        what="the MeshConfig is ignored",
        source="B09: istio/istio 38588",
        read=_reading(_without_mesh(*ListName)),
    ),
    Mutant(
        name="any-annotation-replaces-mesh",
        what="a pod with any annotation does not get the mesh's lists",
        source="S-SCOPE; Linkerd's proxy configuration works so",
        read=_reading(_any_annotation_replaces_mesh),
    ),
    Mutant(
        name="empty-annotation-clears-mesh",
        what="an empty annotation removes the mesh's list of its kind",
        source="S-SCOPE: an override that is present and empty",
        read=_reading(_cleared_by_empty),
    ),
    Mutant(
        name="mesh-inbound-ports-only-first",
        what="of the mesh's excluded inbound ports only the first counts",
        source="S-SCOPE; a tester's broken implementation",
        read=_reading(_mesh_cut(ListName.INBOUND_PORT_EXCLUSION, 1)),
    ),
    Mutant(
        name="scopes-intersected",
        what="with a list in both scopes only common items have an effect",
        source="S-SCOPE",
        read=_reading(_only_in_both),
    ),
    Mutant(
        name="annotations-leak-to-other-pods",
        what="annotations of earlier pods apply to a pod as well",
        source="SPEC-13.3; F01: lists kept in a shared slice",
        read=_of_all_pods,
    ),
    Mutant(
        name="mesh-config-of-previous-pod",
        what="the MeshConfig is read one pod late",
        source="catalogue LIFE-006; an informer's stale cache",
        read=_of_previous_pod,
    ),
    Mutant(
        name="mesh-config-read-once",
        what="the MeshConfig is read for the first pod and then kept",
        source="catalogue LIFE-006; an informer's stale cache",
        read=_of_first_pod,
    ),
    Mutant(
        name="annotations-of-directions-swapped",
        what="the annotations of the two port lists are swapped",
        source="B09: istio/istio 30280",
        read=_reading(
            _swapped_keys(
                {
                    ListName.INBOUND_PORT_EXCLUSION: ListName.OUTBOUND_PORT_EXCLUSION,
                    ListName.OUTBOUND_PORT_EXCLUSION: ListName.INBOUND_PORT_EXCLUSION,
                }
            )
        ),
    ),
    Mutant(
        name="inclusion-annotation-read-as-exclusion",
        what="the annotation of included ranges is read as that of excluded ranges",
        source="B09: istio/istio 38588",
        read=_reading(
            _swapped_keys(
                {ListName.OUTBOUND_IP_RANGE_INCLUSION: ListName.OUTBOUND_IP_RANGE_EXCLUSION}
            )
        ),
    ),
    Mutant(
        name="interface-list-ignored",
        what="the list of excluded interfaces is ignored",
        source="B11: istio/istio PR 59019",
        read=_reading(_without_mesh(ListName.NETWORK_INTERFACE_EXCLUSION)),
    ),
)
