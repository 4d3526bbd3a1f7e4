"""Seeds that a suspicion adds: a widened spec of the run, stored beside the one that a person wrote.

The order of writes makes a stop at any instruction harmless: spec and plan of the widened sweep are put first (as for
any spec), then `more/<spec>.json`, which names it. Until that is there, the run is judged from the first seeds again,
with the same outcome; from then on whoever opens the run by its file goes on with the widened sweep.
"""

from __future__ import annotations

from controller.planning.seeds import more_seeds, seeds_of
from controller.regression.decision import Stage
from controller.spec.file import LoadedSpec, parse_spec
from controller.spec.model import Regression as Asked
from controller.spec.yaml_text import yaml_text
from controller.spec.yaml_tree import TreeValue, parse_yaml
from controller.stored import DamagedError
from job.contract.documents import DATA_LIMIT_BYTES, DOCUMENT_LIMIT_BYTES, MoreSeeds, Plan, parse, to_json
from job.contract.errors import NotFoundError, ResultError, SpecError
from job.store import Keys, Store

__all__ = ["continued", "note_widened", "stage_of", "widened"]


def widened(loaded: LoadedSpec, *, run: str) -> LoadedSpec:
    """The spec with the seeds that its suspicion adds; the seeds that it has come first, and are written out."""
    spec = loaded.spec
    present = seeds_of(spec.vary, run=run)
    asked = spec.regression or Asked()
    number = len(present) if asked.more_seeds is None else asked.more_seeds
    tree = parse_yaml(loaded.text, name="spec").value
    if not isinstance(tree, dict):
        raise SpecError("the spec is no mapping any more, so no seeds can be added to it")
    vary = tree.get("vary")
    changed: dict[str, TreeValue] = dict(vary) if isinstance(vary, dict) else {}
    changed.pop("rotating_seeds", None)
    changed["seeds"] = [*present, *more_seeds(present, run=run, number=number)]
    return parse_spec(yaml_text({**tree, "vary": changed}).encode(), name="widened spec", folder=loaded.folder)


def note_widened(store: Store, loaded: LoadedSpec, wide: LoadedSpec) -> None:
    """Store that the run of `loaded` goes on with `wide`, whose plan is stored."""
    store.put_once(Keys.more(loaded.sha256), to_json(MoreSeeds(spec_sha256=wide.sha256)))


def continued(store: Store, loaded: LoadedSpec) -> LoadedSpec:
    """The spec that the run of `loaded` goes on with: its widened one, where a suspicion has added seeds.

    Raises DamagedError for a document that does not say which.
    """
    if loaded.spec.regression is None:
        return loaded
    key = Keys.more(loaded.sha256)
    try:
        more = parse(MoreSeeds, store.read(key, limit_bytes=DOCUMENT_LIMIT_BYTES), name=f"{store.uri}/{key}")
        text = store.read(Keys.spec(more.spec_sha256), limit_bytes=DATA_LIMIT_BYTES)
    except NotFoundError:
        return loaded
    except ResultError as err:
        raise DamagedError(f"{err}. Move it out of the run: the first seeds are judged again") from err
    return parse_spec(text, name=f"{store.uri}/{Keys.spec(more.spec_sha256)}", folder=loaded.folder)


def stage_of(store: Store, plan: Plan, asked: Asked | None) -> Stage:
    """How far the decision on this plan is."""
    if asked is None or asked.more_seeds == 0:
        return "only"
    for found in store.list(Keys.MORE):
        try:
            more = parse(MoreSeeds, store.read(found.key, limit_bytes=DOCUMENT_LIMIT_BYTES), name=found.key)
        except (NotFoundError, ResultError):
            continue
        if more.spec_sha256 == plan.spec_sha256:
            return "second"
    return "first"
