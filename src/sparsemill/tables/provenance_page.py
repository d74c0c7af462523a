"""Where every artefact of a study comes from: commit, versions, settings, inputs, hashes, from the manifests."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from sparsemill.tables.web import Column, Raw, code, document, folded, heading, listing, table

Manifest = Mapping[str, Any]


def page(manifests: Sequence[Manifest]) -> str:
    """The whole page.

    Args:
        manifests: of every artefact of the study.
    """
    keys = {one["content"]: str(one["key"]) for one in manifests}
    return document(
        "Provenance",
        f"{len(manifests)} artefacts. Each is a folder with a manifest.json, which says what is below.",
        *_warnings(manifests),
        heading("Code and machines"),
        _counted("commit", (_commit(one) for one in manifests)),
        _counted("machine and device", (f"{one['host']}, {one['device']}" for one in manifests)),
        _counted("run of the pipeline", (one["invocation"] or "by hand" for one in manifests)),
        heading("Versions"),
        _counted("package", (f"{name} {version}" for one in manifests for name, version in one["versions"].items())),
        heading("Settings, inputs and files of every artefact"),
        *(_artefact(one, keys) for one in manifests),
    )


def _commit(described: Manifest) -> str:
    return f"{described['git_commit']}{' with uncommitted changes' if described['git_dirty'] else ''}"


def _warnings(manifests: Iterable[Manifest]) -> list[Raw]:
    commits = {_commit(one) for one in manifests}
    found = []
    if any(commit.endswith("changes") for commit in commits):
        found.append("Some artefacts were made from code with uncommitted changes.")
    if len(commits) > 1:
        found.append(f"The artefacts come from {len(commits)} states of the code.")
    return [Raw(f'<p class="warn">{text}</p>') for text in found]


def _counted(title: str, values: Iterable[str]) -> Raw:
    rows = [[code(value), str(count)] for value, count in sorted(Counter(values).items())]
    return table([Column(title), Column("artefacts", number=True)], rows)


def _artefact(described: Manifest, keys: Mapping[str, str]) -> Raw:
    inputs = [
        [name, _link(keys[content]) if content in keys else "", code(content)]
        for name, content in sorted(described["inputs"].items())
    ]
    files = [[code(name), f"{entry['bytes']:,}", code(entry["sha256"])] for name, entry in described["outputs"].items()]
    key = str(described["key"])
    told = f"{described['stage']}, {_commit(described)}, {described['created']}, spec {described['spec_hash']}"
    return folded(
        Raw(f"{code(key)} {described['stage']}"),
        # Inside, so that a link to it opens the fold.
        Raw(f'<span class="anchor" id="{escape(key)}"></span>'),
        Raw(f"<p>{code(told)}</p>"),
        listing(json.dumps(described["spec"], indent=1, sort_keys=True, ensure_ascii=False)),
        table([Column("input"), Column("artefact"), Column("content")], inputs) if inputs else "",
        table([Column("file"), Column("bytes", number=True), Column("sha256")], files),
    )


def _link(key: str) -> Raw:
    return Raw(f'<a href="#{quote(key)}">{code(key)}</a>')
