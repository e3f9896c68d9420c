"""What the W&B server of the tests has received, in plain structures."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

ENTITY = "tester"  # of the only user

Json = dict[str, Any]


class Conflict(Exception):
    """What the server refuses because of what it has."""


@dataclass
class Run:
    """What the server knows of a run."""

    entity: str
    project: str
    id: str
    name: str = ""
    group: str = ""
    job_type: str = ""
    sweep: str = ""
    tags: list[str] = field(default_factory=list)
    config: Json = field(default_factory=dict)
    summary: Json = field(default_factory=dict)
    streams: dict[str, dict[int, str]] = field(default_factory=dict)  # lines by offset, by name
    files: dict[str, bytes] = field(default_factory=dict)
    preempting: bool = False
    exit_code: int | None = None
    finished: bool = False

    @property
    def history(self) -> list[Json]:
        """The rows in the order of their lines, each with its `_step`."""
        lines = self.streams.get("wandb-history.jsonl", {})
        return [json.loads(lines[offset]) for offset in sorted(lines)]

    @property
    def steps(self) -> list[int]:
        """The step of every row."""
        return [row["_step"] for row in self.history]

    def line_count(self, stream: str) -> int:
        """One more than the offset of the last line."""
        return max(self.streams.get(stream, {}), default=-1) + 1


@dataclass
class Artifact:
    """A version of an artifact: its files under their paths, once it is committed."""

    id: str
    version: int
    run: str
    type: str
    name: str
    aliases: list[str]
    metadata: Json
    stored: dict[str, bytes] = field(default_factory=dict)  # files by storage path
    manifest: Json = field(default_factory=dict)
    committed: bool = False

    @property
    def files(self) -> dict[str, bytes]:
        """The content of every file of the manifest."""
        return {path: self.stored[path] for path in self.manifest["contents"]}


@dataclass
class Report:
    """A saved report."""

    id: str
    name: str
    title: str
    description: str
    entity: str
    project: str
    type: str
    spec: Json
    saves: int = 0


class Received:
    """Everything that was received.

    Args:
        url: where more is received.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.projects: list[str] = []  # "entity/project"
        self.runs: dict[str, Run] = {}  # by id
        self.deleted: set[str] = set()  # ids of runs, which are never taken again
        self.artifacts: dict[str, Artifact] = {}  # by name; the last version of each
        self.reports: dict[str, Report] = {}  # by id

    def delete(self, id: str) -> None:
        """What a person does to a run on the site."""
        del self.runs[id]
        self.deleted.add(id)

    def report(self, title: str) -> Report:
        """The only report of this title."""
        (found,) = (report for report in self.reports.values() if report.title == title)
        return found

    def artifact(self, id: str) -> Artifact:
        """The artifact's last version, if it has this id."""
        (found,) = (artifact for artifact in self.artifacts.values() if artifact.id == id)
        return found
