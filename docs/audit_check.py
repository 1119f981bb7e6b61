#!/usr/bin/env python3
"""Checks an audit archive without any code of the log that wrote it.

    audit_check.py BUCKET [--log FILE] [--groups duckdb|pyarrow] [--parquet DIRECTORY]

BUCKET is a directory: a local bucket, or a copy of one (`aws s3 sync s3://NAME DIRECTORY`). Objects
are decompressed by the program `zstd`, so nothing but Python is needed for the check itself.

What is checked, and named when it does not fit:
  - manifests are numbered 1, 2, 3, ... and each names the SHA-256 of the one before;
  - each object that a manifest names is there, has the bytes and the SHA-256 it states, and holds
    the entries it states, all of the category and day of its name;
  - no other object stands between them, except under --leftovers: runs that were broken off;
  - the root of each object, and the tree that each manifest states, are the RFC 6962 roots over the
    lines' commitments; the checkpoint states the tree of the last manifest or of the one before it;
  - the numbers of every writer are 1, 2, 3, ... over the whole archive, and in each manifest exactly
    those that it announces;
  - with --log, a file of one resource id a line: each stands in the archive exactly once.

With --groups, counts entries by actor with another program over the same files, and compares.
With --parquet, looks for each entry in the files of a Parquet export of the whole log: once.

Prints one line of JSON. Objects that have expired are missing here. Signatures and inclusion proofs
are another script's: audit_proof.py.
"""

import argparse
import base64
import collections
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

CATEGORIES = {"application": 1, "database": 2, "access": 3, "security": 4}


class Unsound(Exception):
    """The archive is not what it says."""


def ensure(condition, *what):
    if not condition:
        raise Unsound(" ".join(str(part) for part in what))


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def unpacked(content, limit):
    """The content of a zstd frame, refused beyond `limit` bytes."""
    with tempfile.TemporaryFile() as packed:
        packed.write(content)
        packed.seek(0)
        command = ["zstd", "-dcq"]
        with subprocess.Popen(command, stdin=packed, stdout=subprocess.PIPE) as zstd:
            output = zstd.stdout.read(limit + 1)
            if len(output) > limit:
                zstd.kill()
                raise Unsound("an object unpacks to more than it announces")
        ensure(zstd.returncode == 0, "zstd does not unpack an object")
    return output


class Tree:
    """The Merkle tree of RFC 6962, section 2.1."""

    def __init__(self):
        self.size = 0
        self.peaks = []

    def push(self, leaf):
        node = hashlib.sha256(b"\0" + leaf).digest()
        full = self.size
        while full & 1:
            node = hashlib.sha256(b"\1" + self.peaks.pop() + node).digest()
            full >>= 1
        self.peaks.append(node)
        self.size += 1

    def root(self):
        if not self.peaks:
            return hashlib.sha256().hexdigest()
        *peaks, node = self.peaks
        for peak in reversed(peaks):
            node = hashlib.sha256(b"\1" + peak + node).digest()
        return node.hex()

    def head(self):
        return {"size": self.size, "root": self.root()}


class Archive:
    def __init__(self, bucket):
        self.root = pathlib.Path(bucket)
        self.manifests = 0
        self.objects = []
        self.numbers = collections.defaultdict(list)
        self.actors = collections.Counter()
        self.resources = collections.Counter()
        self.entries = 0
        self.tree = Tree()
        self.heads = [self.tree.head()]

    def read(self):
        previous = ""
        for path in sorted((self.root / "audit/v1/manifest").glob("*.jsonl")):
            content = path.read_bytes()
            body = json.loads(content.split(b"\n", 1)[0])
            self.manifests += 1
            ensure(path.name == "%020d.jsonl" % self.manifests, path, "is not the next manifest")
            ensure(body["number"] == self.manifests, path, "has another number than its name")
            ensure(body["previous"] == previous, path, "does not name the manifest before it")
            previous = sha256(content)
            self.manifest(path, body)
            ensure(body["tree"] == self.tree.head(), path, "states another tree")
            self.heads = [self.heads[-1], body["tree"]]

    def check_checkpoint(self):
        path = self.root / "audit/v1/log/checkpoint"
        ensure(path.is_file() or not self.heads[0]["size"], path, "is missing")
        if not path.is_file():
            return 0
        _, size, root = path.read_text().split("\n")[:3]
        stated = {"size": int(size), "root": base64.b64decode(root).hex()}
        ensure(stated in self.heads, path, "states", size, "entries and another tree than there is")
        return stated["size"]

    def manifest(self, path, body):
        found = collections.defaultdict(list)
        for meta in body["objects"]:
            for line in self.object(meta):
                entry = json.loads(line)
                category, day = meta["key"].split("category=")[1].split("/date=")
                ensure(entry["category"] == category, meta["key"], "holds another category")
                ensure(entry["recorded_at"][:10] == day[:10], meta["key"], "holds another day")
                found[entry["writer"]].append(entry["seq"])
                self.note(entry)
        count = sum(len(numbers) for numbers in found.values())
        ensure(count == body["entries"], path, "announces", body["entries"], "entries, has", count)
        ensure(set(found) == set(body["writers"]), path, "announces other writers")
        for writer, numbers in found.items():
            announced = body["writers"][writer]
            whole = list(range(announced["first"], announced["last"] + 1))
            ensure(sorted(numbers) == whole, path, "has a gap in writer", writer)
            self.numbers[writer] += whole

    def object(self, meta):
        path = self.root / meta["key"]
        ensure(path.is_file(), meta["key"], "is missing")
        content = path.read_bytes()
        ensure(len(content) == meta["bytes"], meta["key"], "has another size")
        ensure(sha256(content) == meta["sha256"], meta["key"], "has another SHA-256")
        lines = unpacked(content, meta["raw_bytes"])
        ensure(lines.endswith(b"\n"), meta["key"], "does not end a line")
        lines = lines.split(b"\n")[:-1]
        ensure(len(lines) == meta["entries"], meta["key"], "holds another number of entries")
        tree, code = Tree(), CATEGORIES[meta["category"]]
        for line in lines:
            leaf = bytes([1, code]) + hashlib.sha256(line).digest()
            tree.push(leaf)
            self.tree.push(leaf)
        ensure(tree.root() == meta["root"], meta["key"], "has another root")
        self.objects.append(meta["key"])
        return lines

    def note(self, entry):
        self.entries += 1
        self.resources[entry["resource"]["type"], entry["resource"]["id"]] += 1
        self.actors[actor(entry)] += 1

    def check_writers(self):
        for writer, numbers in self.numbers.items():
            dense = list(range(1, len(numbers) + 1))
            ensure(numbers == dense, "writer", writer, "has a gap over the manifests")

    def leftovers(self):
        named = set(self.objects)
        stand = (self.root / "audit/v1").glob("category=*/**/*.zst")
        return sorted(key for path in stand
                      if (key := path.relative_to(self.root).as_posix()) not in named)

    def check_log(self, path):
        text = pathlib.Path(path).read_text()
        wanted = text[: text.rfind("\n") + 1].split()
        count = collections.Counter()
        for (_, name), times in self.resources.items():
            count[name] += times
        lost = [name for name in wanted if count[name] == 0]
        twice = [name for name in wanted if count[name] > 1]
        ensure(not lost, len(lost), "entries of the log are not in the archive:", lost[:5])
        ensure(not twice, len(twice), "entries of the log stand there twice:", twice[:5])
        return len(wanted)


def actor(entry):
    """Who it was: the id, or the pseudonym of a sealed entry."""
    return entry["actor"].get("id") or entry["sealed"]["subject"]


def grouped_by_duckdb(archive):
    import duckdb

    files = [str(archive.root / key) for key in archive.objects]
    rows = duckdb.execute(
        """
        SELECT coalesce(json_extract_string(line, '$.actor.id'),
                        json_extract_string(line, '$.sealed.subject')) AS actor, count(*)
        FROM (SELECT json AS line FROM read_ndjson_objects(?, compression = 'zstd'))
        GROUP BY actor
        """,
        [files],
    ).fetchall()
    return dict(rows)


def grouped_by_pyarrow(archive):
    import pyarrow
    import pyarrow.compute
    import pyarrow.json

    counts = collections.Counter()
    for key in archive.objects:
        with pyarrow.CompressedInputStream(str(archive.root / key), "zstd") as stream:
            table = pyarrow.json.read_json(stream)
        names = pyarrow.compute.struct_field(table["actor"], "type")
        who = table["sealed"] if "sealed" in table.column_names else table["actor"]
        field = "subject" if "sealed" in table.column_names else "id"
        who = pyarrow.compute.struct_field(who, field)
        ensure(len(names) == len(who), key, "has rows without an actor")
        table = pyarrow.table({"actor": who}).group_by("actor").aggregate([([], "count_all")])
        for row in table.to_pylist():
            counts[row["actor"]] += row["count_all"]
    return dict(counts)


def check_export(archive, directory):
    """Counts the rows of a Parquet export, each of which must be an entry of the archive."""
    import pyarrow.parquet

    files = sorted(pathlib.Path(directory).glob("**/*.parquet"))
    ensure(files, directory, "holds no Parquet")
    wanted = {(writer, seq) for writer, numbers in archive.numbers.items() for seq in numbers}
    rows = 0
    for path in files:
        table = pyarrow.parquet.read_table(path, columns=["writer", "sequence"])
        for writer, sequence in zip(*(column.to_pylist() for column in table.columns)):
            place = getattr(writer, "bytes", writer).hex(), sequence
            ensure(place in wanted, path, "holds", place, "twice, or it is not in the archive")
            wanted.remove(place)
            rows += 1
    ensure(not wanted, "the export lacks", len(wanted), "entries")
    return rows


def main():
    parser = argparse.ArgumentParser(description="checks an audit archive by itself")
    parser.add_argument("bucket")
    parser.add_argument("--log", help="a file of resource ids, one a line")
    parser.add_argument("--leftovers", action="store_true", help="accept objects no manifest names")
    parser.add_argument("--groups", choices=["duckdb", "pyarrow"])
    parser.add_argument("--parquet", help="a directory of an export")
    args = parser.parse_args()
    archive = Archive(args.bucket)
    try:
        archive.read()
        archive.check_writers()
        checkpoint = archive.check_checkpoint()
        left = archive.leftovers()
        ensure(args.leftovers or not left, "no manifest names", left[:5])
        report = {
            "manifests": archive.manifests,
            "objects": len(archive.objects),
            "entries": archive.entries,
            "writers": len(archive.numbers),
            "checkpoint": checkpoint,
            "leftovers": len(left),
        }
        if args.log:
            report["logged"] = archive.check_log(args.log)
        if args.groups:
            group = {"duckdb": grouped_by_duckdb, "pyarrow": grouped_by_pyarrow}[args.groups]
            counts = group(archive)
            ensure(counts == dict(archive.actors), args.groups, "counts other actors:", counts)
            report["actors"] = len(counts)
        if args.parquet:
            report["rows"] = check_export(archive, args.parquet)
    except Unsound as fault:
        print(json.dumps({"fault": str(fault)}))
        return 1
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
