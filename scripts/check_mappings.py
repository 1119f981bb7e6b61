"""Holds audit events against published schemas; see `check-mappings`."""

import copy
import json
import re
import sys

from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

# The version that events say they are of, one in between, and the last that is published there.
OCSF_VERSIONS = ["1.1.0", "1.3.0", "1.8.0"]
# Attributes without which no event of any class is valid.
REQUIRED = ["activity_id", "class_uid", "category_uid", "metadata", "severity_id", "time", "type_uid"]


class Ocsf:
    """The classes of one version."""

    def __init__(self, version):
        self.schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version))
        self.validators = {}

    def validator(self, class_uid):
        if class_uid not in self.validators:
            name = self.schema.lookup_class_name_from_uid(class_uid)
            schema = self.schema.get_class_schema(name)
            Draft202012Validator.check_schema(schema)
            self.validators[class_uid] = Draft202012Validator(schema)
        return self.validators[class_uid]

    def problems(self, event):
        found = []
        for error in self.validator(event["class_uid"]).iter_errors(event):
            found.append(f"{error.json_path}: {error.message[:300]}")
        return found


def ocsf_problems(versions, event):
    found = [f"{name} {problem}" for name, version in versions.items() for problem in version.problems(event)]
    if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
        found.append("type_uid is not class_uid * 100 + activity_id")
    if event["metadata"]["version"] not in versions:
        found.append("metadata.version is none of the versions it was held against")
    return found


# Every broken copy has to be found, or the check checks nothing.
def broken_ocsf(event):
    for name in REQUIRED:
        if name != "class_uid":
            yield f"without {name}", {key: value for key, value in event.items() if key != name}
    yield "with an attribute that no class has", {**event, "watchdog": 1}
    yield "with an unknown severity", {**event, "severity_id": 7}
    yield "with a text for a time", {**event, "time": "yesterday"}
    nameless = copy.deepcopy(event)
    del nameless["metadata"]["product"]
    yield "without a product", nameless


# CloudEvents 1.0.2, section 3.1: what the type String may not hold.
FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef]")
# RFC 3339, as CloudEvents wants its times.
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def cloudevents_problems(event):
    try:
        read = JSONFormat().read(CloudEvent, json.dumps(event))
    except Exception as error:  # whatever the reader says
        return [f"not read: {error!r}"]
    found = []
    for name, value in event.items():
        if name == "data":
            continue
        # Extensions are of simple types; ours are all texts.
        if not isinstance(value, str):
            found.append(f"{name} is no text")
        elif FORBIDDEN.search(value) or any(ord(letter) & 0xFFFE == 0xFFFE for letter in value):
            found.append(f"{name} holds a character that no attribute may hold")
        if len(name) > 20:
            found.append(f"the name {name} is too long")
    for name in ("time", "recordedtime"):
        if not TIME.fullmatch(event.get(name, "")):
            found.append(f"{name} is no time")
    if read.get_data() != event["data"]:
        found.append("the data is not read as it was written")
    return found


def broken_cloudevents(event):
    for name in ("source", "type", "specversion"):
        yield f"with an empty {name}", {**event, name: ""}
    yield "with an empty subject", {**event, "subject": ""}
    yield "with a line break", {**event, "subject": "a\nb"}
    yield "with an upper-case extension", {**event, "partitionKey": "x"}
    yield "with a local time", {**event, "time": "2026-01-01T00:00:00"}


def main(path):
    versions = {name: Ocsf(name) for name in OCSF_VERSIONS}
    checks = {
        "ocsf": (lambda event: ocsf_problems(versions, event), broken_ocsf),
        "cloudevents": (cloudevents_problems, broken_cloudevents),
    }
    failures, counts = [], {name: 0 for name in checks}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            sample = json.loads(line)
            problems, broken = checks[sample["format"]]
            event = sample["event"]
            failures += [f"{problem}\n    in {line.strip()}" for problem in problems(event)]
            if counts[sample["format"]] == 0:
                for what, copied in broken(event):
                    try:
                        is_found = bool(problems(copied))
                    except KeyError:
                        is_found = True
                    if not is_found:
                        failures.append(f"{sample['format']}: an event {what} passes")
            counts[sample["format"]] += 1
    for failure in failures[:20]:
        print(failure)
    print(f"{counts} events, {len(failures)} problems, OCSF {', '.join(OCSF_VERSIONS)}")
    return 1 if failures or not all(counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
