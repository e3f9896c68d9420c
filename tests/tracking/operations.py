"""What the W&B server of the tests answers: GraphQL operations, streams and uploads.

It keeps of W&B's rules those on which the client relies: a run is known by its id, a later
`UpsertBucket` changes only what it names, and a line of a stream has its place by its offset, so
that what is sent again overwrites itself.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import unquote

from tests.tracking.received import ENTITY, Artifact, Conflict, Json, Received, Report, Run

_LONG_AGO = "2020-01-01T00:00:00Z"

Operation = Callable[[Received, Json], Json]

OPERATIONS: dict[str, Operation] = {}


def _operation(*names: str) -> Callable[[Operation], Operation]:
    """The function answers these GraphQL operations: from their variables to their data."""

    def register(function: Operation) -> Operation:
        OPERATIONS.update(dict.fromkeys(names, function))
        return function

    return register


def stream(run: Run, sent: Json) -> None:
    """Take a part of a run's history, summary, events or output, and how it ended."""
    for name, part in (sent.get("files") or {}).items():
        lines = run.streams.setdefault(name, {})
        lines.update(enumerate(part["content"], part["offset"]))
        if name == "wandb-summary.json":
            run.summary = json.loads(part["content"][-1])
    run.preempting |= bool(sent.get("preempting"))
    if sent.get("complete"):
        run.finished, run.exit_code = True, sent["exitcode"]


def upload(received: Received, path: str, content: bytes) -> None:
    """Take a file of a run or of an artifact, at an address that was given out before."""
    _, _, kind, owner, name = unquote(path).split("/", 4)
    match kind:
        case "run":
            received.runs[owner].files[name] = content
        case "artifact":
            received.artifact(owner).stored[name] = content
        case "manifest":
            received.artifact(owner).manifest = json.loads(content)


@_operation("Viewer", "GetViewer", "GetDefaultEntity")
def _viewer(received: Received, given: Json) -> Json:
    viewer = {"id": "u1", "name": ENTITY, "username": ENTITY, "entity": ENTITY, "email": ""}
    return {"viewer": {**viewer, "flags": "{}", "teams": {"edges": []}, "admin": False}}


@_operation("ServerFeaturesQuery")
def _features(received: Received, given: Json) -> Json:
    return {"serverInfo": {"features": []}}


@_operation("OrganizationCoreWeaveOrganizationID")
def _organization(received: Received, given: Json) -> Json:
    return {"entity": {"organization": None}}


@_operation("RunResumeStatus")
def _resume_status(received: Received, given: Json) -> Json:
    model = {"id": "m", "name": given["project"], "entity": {"id": "e", "name": ENTITY}}
    return {"model": {**model, "bucket": _resumable(received.runs.get(given["name"]))}}


def _resumable(run: Run | None) -> Json | None:
    if run is None:
        return None
    return {
        "id": run.id,
        "name": run.id,
        "displayName": run.name,
        "summaryMetrics": json.dumps(run.summary),
        "logLineCount": run.line_count("output.log"),
        "historyLineCount": run.line_count("wandb-history.jsonl"),
        "eventsLineCount": run.line_count("wandb-events.jsonl"),
        "historyTail": json.dumps([json.dumps(row) for row in run.history[-1:]]),
        "eventsTail": "[]",
        "config": json.dumps({key: {"value": value} for key, value in run.config.items()}),
        "tags": run.tags,
        "notes": "",
        "wandbConfig": json.dumps({"t": 1}),  # it has been started before, not only made
    }


@_operation("UpsertBucket")
def _upsert_run(received: Received, given: Json) -> Json:
    entity, project = given.get("entity") or ENTITY, given.get("project") or "uncategorized"
    inserted = given["name"] not in received.runs
    if given["name"] in received.deleted:
        raise Conflict(f"run {entity}/{project}/{given['name']} was previously created and deleted")
    run = received.runs.setdefault(given["name"], Run(entity, project, given["name"]))
    _know_project(received, f"{entity}/{project}")
    run.name = given.get("displayName") or run.name
    run.group = given.get("groupName") or run.group
    run.job_type = given.get("jobType") or run.job_type
    run.sweep = given.get("sweep") or run.sweep
    run.tags = given.get("tags") or run.tags
    run.finished, run.exit_code = False, None
    if given.get("config"):
        run.config = {key: item["value"] for key, item in json.loads(given["config"]).items()}
    if given.get("summaryMetrics"):
        run.summary = json.loads(given["summaryMetrics"])
    bucket = {
        "id": run.id,
        "name": run.id,
        "displayName": run.name,
        "description": "",
        "config": json.dumps({key: {"value": value} for key, value in run.config.items()}),
        "sweepName": run.sweep or None,
        "project": {"id": "m", "name": project, "entity": {"id": "e", "name": entity}},
        "historyLineCount": run.line_count("wandb-history.jsonl"),
    }
    return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}


@_operation("CreateRunFiles")
def _run_files(received: Received, given: Json) -> Json:
    urls = [
        {"name": name, "uploadUrl": f"{received.url}/upload/run/{given['run']}/{name}"}
        for name in given["files"]
    ]
    return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": urls}}


@_operation("ArtifactType")
def _artifact_type(received: Received, given: Json) -> Json:
    known = received.artifacts.get(given["name"].partition(":")[0])
    return {"project": {"artifact": {"artifactType": {"name": known.type}} if known else None}}


@_operation("CreateArtifact")
def _artifact(received: Received, given: Json) -> Json:
    asked = given["input"]
    name = asked["artifactCollectionName"]
    before = received.artifacts.get(name)
    version = before.version + 1 if before else 0
    artifact = Artifact(
        id=f"{name}-v{version}",
        version=version,
        run=asked.get("runName", ""),
        type=asked["artifactTypeName"],
        name=name,
        aliases=[alias["alias"] for alias in asked.get("aliases") or []],
        metadata=json.loads(asked.get("metadata") or "{}"),
    )
    received.artifacts[name] = artifact
    sequence = {"latestArtifact": None}
    return {
        "createArtifact": {
            "artifact": {"id": artifact.id, "state": "PENDING", "artifactSequence": sequence}
        }
    }


@_operation("CreateArtifactManifest")
def _artifact_manifest(received: Received, given: Json) -> Json:
    return {"createArtifactManifest": _manifest(received, given["artifactID"], given)}


@_operation("UpdateArtifactManifest")
def _new_artifact_manifest(received: Received, given: Json) -> Json:
    artifact = given["artifactManifestID"].removeprefix("manifest-")
    return {"updateArtifactManifest": _manifest(received, artifact, given)}


def _manifest(received: Received, artifact: str, given: Json) -> Json:
    file: Json = {"id": f"file-{artifact}"}
    if given["includeUpload"]:
        file |= {
            "uploadUrl": f"{received.url}/upload/manifest/{artifact}/manifest.json",
            "uploadHeaders": [],
        }
    return {"artifactManifest": {"id": f"manifest-{artifact}", "file": file}}


@_operation("CreateArtifactFiles")
def _artifact_files(received: Received, given: Json) -> Json:
    files = []
    for spec in given["input"]["artifactFiles"]:
        artifact, path = spec["artifactID"], spec["name"]
        node = {
            "storagePath": path,
            "uploadUrl": f"{received.url}/upload/artifact/{artifact}/{path}",
            "uploadHeaders": [],
            "uploadMultipartUrls": None,
            "artifact": {"id": artifact},
        }
        files.append({"node": node})
    return {"createArtifactFiles": {"files": {"edges": files}}}


@_operation("CommitArtifact")
def _commit_artifact(received: Received, given: Json) -> Json:
    artifact = received.artifact(given["artifactID"])
    artifact.committed = True
    return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": "d"}}}


@_operation("ArtifactByID")
def _artifact_by_id(received: Received, given: Json) -> Json:
    artifact = received.artifact(given["id"])
    project = received.runs[artifact.run].project
    described = {
        "__typename": "Artifact",
        "id": artifact.id,
        "artifactSequence": {
            "__typename": "ArtifactSequence",
            "name": artifact.name,
            "project": {
                "id": f"id-{project}",
                "internalId": f"internal-{project}",
                "name": project,
                "entity": {"name": ENTITY},
            },
        },
        "versionIndex": artifact.version,
        "artifactType": {"name": artifact.type},
        "description": None,
        "metadata": json.dumps(artifact.metadata),
        "ttlDurationSeconds": 0,
        "ttlIsInherited": True,
        "tags": [],
        "historyStep": None,
        "state": "COMMITTED",
        "size": sum(map(len, artifact.stored.values())),
        "digest": "d",
        "commitHash": None,
        "fileCount": len(artifact.stored),
        "createdAt": _LONG_AGO,
        "updatedAt": None,
        "aliases": [],
    }
    return {"artifact": described}


@_operation("Runs")
def _runs(received: Received, given: Json) -> Json:
    path = f"{given['entity']}/{given['project']}"
    if path not in received.projects:
        return {"project": None}
    wanted = json.loads(given["filters"])["name"]
    found = [run for run in received.runs.values() if run.id == wanted]
    nodes = [
        {
            "id": run.id,
            "name": run.id,
            "displayName": run.name,
            "state": "finished" if run.finished else "running",
            "historyLineCount": run.line_count("wandb-history.jsonl"),
            "projectId": "1",
        }
        for run in found
    ]
    page = {"endCursor": None, "hasNextPage": False}
    edges = [{"node": node, "cursor": node["id"]} for node in nodes]
    return {"project": {"runCount": len(found), "runs": {"edges": edges, "pageInfo": page}}}


@_operation("ProjectInternalId", "GetProject")
def _project(received: Received, given: Json) -> Json:
    entity = given.get("entityName") or given["entity"]
    name = given.get("projectName") or given["name"]
    known = f"{entity}/{name}" in received.projects
    return {"project": _described(f"{entity}/{name}") if known else None}


@_operation("GetProjects")
def _projects(received: Received, given: Json) -> Json:
    own = [path for path in received.projects if path.startswith(f"{given['entity']}/")]
    page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
    return {"models": {"pageInfo": page, "edges": [{"node": _described(path)} for path in own]}}


@_operation("CreateProject")
def _new_project(received: Received, given: Json) -> Json:
    path = f"{given['input']['entityName']}/{given['input']['name']}"
    _know_project(received, path)
    made = {**_described(path), "description": "", "access": "PRIVATE", "views": "{}"}
    return {"result": {"project": made, "model": made, "inserted": True}}


def _know_project(received: Received, path: str) -> None:
    if path not in received.projects:
        received.projects.append(path)


def _described(path: str) -> Json:
    entity, _, name = path.partition("/")
    return {
        "__typename": "Project",
        "id": f"id-{name}",
        "internalId": f"internal-{name}",
        "name": name,
        "entityName": entity,
        "createdAt": _LONG_AGO,
        "isBenchmark": False,
        "user": None,
    }


@_operation("upsertView")
def _upsert_report(received: Received, given: Json) -> Json:
    inserted = not given.get("id")
    if inserted:
        report = Report(
            id=base64.b64encode(f"View:{len(received.reports)}".encode()).decode().rstrip("="),
            name=given["name"],
            title="",
            description="",
            entity=given["entityName"],
            project=given["projectName"],
            type=given["type"],
            spec={},
        )
        received.reports[report.id] = report
    else:
        report = received.reports[given["id"]]
    report.title = given["displayName"]
    report.description = given["description"]
    report.type = given["type"]
    report.spec = json.loads(given["spec"])
    report.saves += 1
    return {"upsertView": {"view": _view(report), "inserted": inserted}}


@_operation("SpecificReport")
def _specific_report(received: Received, given: Json) -> Json:
    report = received.reports.get(given["reportId"])
    return {"view": _view(report) if report else None}


@_operation("ProjectViews")
def _project_reports(received: Received, given: Json) -> Json:
    found = [
        report
        for report in received.reports.values()
        if (report.entity, report.project, report.type)
        == (given["entity"], given["project"], "runs")
        and given.get("viewName") in (None, report.name)
    ]
    edges = [{"node": _view(report), "cursor": report.id} for report in found]
    page = {"endCursor": None, "hasNextPage": False}
    known = f"{given['entity']}/{given['project']}" in received.projects
    return {"project": {"allViews": {"edges": edges, "pageInfo": page}} if known else None}


def _view(report: Report) -> Json:
    return {
        "id": report.id,
        "type": report.type,
        "name": report.name,
        "displayName": report.title,
        "description": report.description,
        "project": {
            "id": f"id-{report.project}",
            "name": report.project,
            "entityName": report.entity,
        },
        "spec": json.dumps(report.spec),
        "user": {"username": ENTITY, "photoUrl": "", "email": ""},
        "createdAt": _LONG_AGO,
        "updatedAt": _LONG_AGO,
    }
