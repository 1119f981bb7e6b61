#!/usr/bin/env python3
"""Checks that an entry is in a Watchdog audit log, with Python 3.9 and openssl and none of our code.

usage: audit_proof.py PROOF-FILE PUBLIC-KEY     (what `AuditLog::prove` gives; 32 bytes in hex or base64)
Prints the entry when it is proven, else says why not and ends with 1.
"""
import base64, functools, hashlib, json, re, subprocess, sys, tempfile

binary = functools.partial(base64.b64decode, validate=True)
CATEGORIES = {"application": 1, "database": 2, "access": 3, "security": 4}
PROOF = re.compile(r"c2sp\.org/tlog-proof@v1\nextra (\S+)\nindex ([0-9]{1,19})\n((?:\S+\n){0,64})\n"
                   r"((\S+)\n([0-9]{1,19})\n(\S+)\n)\n((?:\u2014 \S+ \S+\n)+)")

def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

def need(condition, otherwise):
    if not condition: raise ValueError(otherwise)

def is_signature(key, message, signature):
    der = bytes.fromhex("302a300506032b6570032100") + key  # SubjectPublicKeyInfo, RFC 8410
    with tempfile.NamedTemporaryFile() as k, tempfile.NamedTemporaryFile() as m, tempfile.NamedTemporaryFile() as s:
        for file, content in (k, der), (m, message), (s, signature): file.write(content), file.flush()
        command = f"openssl pkeyutl -verify -rawin -pubin -keyform DER -inkey {k.name} -in {m.name} -sigfile {s.name}"
        return subprocess.run(command.split(), capture_output=True).returncode == 0

def root_of(leaf, node, last, path):  # RFC 9162, section 2.1.3.2
    for step in path:
        need(last, "the path is too long")
        if node & 1 or node == last:
            leaf = sha256(b"\1", step, leaf)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            leaf = sha256(b"\1", leaf, step)
        node, last = node >> 1, last >> 1
    return None if last else leaf

def check(proof, key):
    parts = PROOF.fullmatch(proof)
    need(parts, "it is not a proof")
    line, index, path, body, origin, size, root, notes = parts.groups()
    key_id = sha256(origin.encode(), b"\n\1", key)[:4]
    signed = [binary(note.split(" ")[2]) for note in notes.splitlines() if note.split(" ")[1] == origin]
    own = [note[4:] for note in signed if note[:4] == key_id]
    need(any(is_signature(key, body.encode(), note) for note in own), "the key has not signed the checkpoint")
    need(int(index) < int(size), "there is no such place")
    code = CATEGORIES[json.loads(line := binary(line))["category"]]
    leaf = sha256(b"\0", bytes([1, code]), sha256(line))
    found = root_of(leaf, int(index), int(size) - 1, map(binary, path.split()))
    need(found == binary(root), "the entry is not in the log of the checkpoint")
    return line.decode()

if __name__ == "__main__":
    try:
        name, key = sys.argv[1:]
        key = bytes.fromhex(key) if len(key) == 64 else binary(key)
        print(check(open(name, encoding="utf-8", newline="").read(), key))
    except (ValueError, LookupError, TypeError, OSError) as error:
        sys.exit(f"not proven: {error}")
