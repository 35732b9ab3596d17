#!/usr/bin/env python3
"""Checks an evidence package of Liuhen 留痕, and needs nothing but Python 3.9 or newer.

校验证据包，只需要 Python。

    python3 verify.py [FOLDER] [--key KEY] [--witness CHECKPOINT]

FOLDER   the package; where this file lies if not given. 证据包所在目录。
KEY      the public key of the organ's ledger, got from elsewhere than the package (a file, or the key itself).
         另行取得的公钥(文件或文本);不给出时使用包内公钥,只能证明包内一致。
CHECKPOINT  a signed checkpoint of the ledger that was kept elsewhere (a file), such as by a witness. May be repeated.
         另处保存的检查点文件,可多次给出。

It proves: every file is byte for byte what was exported; every original recording is what the ledger said when it was
stored; the ledger's entries are in the signed tree; the tree only grew between its checkpoints; every fragment inside a
recording has its own hash; nothing is missing between fragments that is not told as a gap.
Exit code 0: all of it holds. 1: something does not, one line each. 2: wrong use.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

CHUNK = 1 << 20
MANIFEST_TYPE = uuid.UUID("a2f6c9d4-7e31-5b08-9c46-6c6975686e31").bytes
LEDGER = ("ledger/entries.ndjson", "ledger/checkpoint.txt", "ledger/keys.txt", "ledger/consistency.ndjson")
PACKAGE = "package.json"


class Broken(Exception):
    """Something cannot be read at all."""


# Ed25519 (RFC 8032 §5.1), verification only

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
Point = tuple[int, int, int, int]


def _add(one: Point, two: Point) -> Point:
    a = (one[1] - one[0]) * (two[1] - two[0]) % _P
    b = (one[1] + one[0]) * (two[1] + two[0]) % _P
    c = 2 * one[3] * two[3] * _D % _P
    d = 2 * one[2] * two[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(number: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = _add(total, point)
        point = _add(point, point)
        number >>= 1
    return total


def _same(one: Point, two: Point) -> bool:
    return (one[0] * two[2] - two[0] * one[2]) % _P == 0 and (one[1] * two[2] - two[1] * one[2]) % _P == 0


def _decompress(data: bytes) -> Point:
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= _P:
        raise Broken("no point of the curve")
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P or (x == 0 and sign):
        raise Broken("no point of the curve")
    x = _P - x if x & 1 != sign else x
    return x, y, 1, x * y % _P


_BASE = _decompress(bytes([0x58]) + bytes([0x66]) * 31)


def ed25519_verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether a signature of 64 bytes is this key's over this message."""
    if len(public) != 32 or len(signature) != 64:
        return False
    try:
        key, nonce = _decompress(public), _decompress(signature[:32])
    except Broken:
        return False
    scalar = int.from_bytes(signature[32:], "little")
    if scalar >= _L:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % _L
    return _same(_times(scalar, _BASE), _add(nonce, _times(challenge, key)))


# The Merkle tree (RFC 9162 §2.1)


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of_inclusion(index: int, size: int, leaf: bytes, proof: list[bytes]) -> bytes | None:
    """Return the root that a proof of inclusion leads to (§2.1.3.2), None where the proof has a wrong length."""
    if not 0 <= index < size:
        return None
    place, last, root = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return None
        if place & 1 or place == last:
            root = _node(step, root)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            root = _node(root, step)
        place, last = place >> 1, last >> 1
    return root if last == 0 else None


def is_consistent(first: int, second: int, old: bytes, new: bytes, proof: list[bytes]) -> bool:
    """Tell whether a tree of `second` leaves begins with that of `first` (§2.1.4.2)."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and old == new
    steps = list(proof)
    if first & (first - 1) == 0:
        steps.insert(0, old)
    if not steps:
        return False
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    former = latter = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            former, latter = _node(step, former), _node(step, latter)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            latter = _node(latter, step)
        place, last = place >> 1, last >> 1
    return last == 0 and former == old and latter == new


# Signed checkpoints (C2SP signed-note, tlog-checkpoint)


class Key(NamedTuple):
    """A verifier key: name, id and public key."""

    name: str
    key_id: bytes
    public: bytes


class Head(NamedTuple):
    """What a checkpoint says."""

    origin: str
    size: int
    root: bytes


def parse_key(text: str) -> Key:
    """Read `name+id+base64`."""
    try:
        name, key_id, typed = text.strip().split("+", 2)
        data = base64.b64decode(typed, validate=True)
    except ValueError:
        raise Broken(f"no key: {text.strip()[:80]!r}") from None
    found = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
    if len(data) != 33 or data[0] != 1 or found.hex() != key_id:
        raise Broken(f"no Ed25519 key, or an id that is not its own: {text.strip()[:80]!r}")
    return Key(name, found, data[1:])


def open_checkpoint(note: str, keys: list[Key]) -> Head:
    """Return what a checkpoint says, if a known key has signed it."""
    text, gap, rest = note.rpartition("\n\n")
    text += "\n"
    good = False
    for line in rest.split("\n") if gap else []:
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "—":
            continue
        try:
            data = base64.b64decode(parts[2], validate=True)
        except ValueError:
            raise Broken("a signature that is not base64") from None
        if base64.b64encode(data).decode() != parts[2]:
            raise Broken("a signature that is not in the form that was written")
        for key in keys:
            if (key.name, key.key_id) == (parts[1], data[:4]):
                if not ed25519_verifies(key.public, text.encode(), data[4:]):
                    raise Broken(f"the signature of {key.name} is not of this checkpoint")
                good = True
    if not good:
        raise Broken("not signed by a known key")
    lines = text.split("\n")
    try:
        root = base64.b64decode(lines[2], validate=True)
        return Head(lines[0], int(lines[1]), root)
    except (ValueError, IndexError):
        raise Broken("not of the form origin, size, root") from None


# What a recording says of itself: the manifest box at its end


def manifest_faults(path: Path, told: dict[str, Any]) -> Iterator[str]:
    """Check every fragment of a recording against its own hash, and the numbers against what the package says."""
    with path.open("rb") as stream:
        end = stream.seek(0, 2)
        stream.seek(max(0, end - 4))
        size = int.from_bytes(stream.read(4), "big")
        if not 28 < size <= end:
            yield "no manifest at its end"
            return
        stream.seek(end - size)
        box = stream.read(size)
        if box[4:24] != b"uuid" + MANIFEST_TYPE:
            yield "no manifest at its end"
            return
        try:
            said = json.loads(box[24:-4])
            fragments = said["fragments"]
            expected = said["init_bytes"]
            stream.seek(0)
            init = stream.read(expected)
            for one in fragments:
                stream.seek(one["offset"])
                found = hashlib.sha256(init + stream.read(one["bytes"])).hexdigest()
                if one["offset"] != expected or found != one["sha256"]:
                    yield f"fragment {one['seq']} is not what it was"
                expected += one["bytes"]
            numbers = [one["seq"] for one in fragments]
            place = (said["recorder_id"], said["session_id"], said["feed_id"])
        except (ValueError, KeyError, TypeError):
            yield "its manifest cannot be read"
            return
    if expected + size != end:
        yield "bytes that belong to no fragment"
    if numbers != list(range(told["first_seq"], told["last_seq"] + 1)):
        yield f"holds fragments {numbers[:1]}…{numbers[-1:]}, not {told['first_seq']}…{told['last_seq']}"
    if place != (told["recorder_id"], told["session_id"], told["feed_id"]):
        yield f"is of {place}"


def is_stored(entry: dict[str, Any]) -> bool:
    """Tell whether an entry is about an object: live footage, or a file that was delivered later."""
    return entry["kind"] == "segment" or (entry["kind"] == "backfill" and "key" in entry["body"])


class Package:
    """One package, and what is wrong with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[str] = []
        self.notes: list[str] = []
        self.told: dict[str, Any] = {}
        self.entries: list[tuple[int, dict[str, Any]]] = []
        self.head: Head | None = None

    def check(self, keys: list[Key], witnesses: list[str]) -> None:
        """Check everything; a part that cannot be read leaves the others to be checked."""
        steps: list[Callable[[], None]] = [
            self._read_package,
            partial(self._read_ledger, keys, witnesses),
            self._check_files,
            self._check_export,
            self._check_objects,
            self._check_whole,
        ]
        for step in steps:
            try:
                step()
            except (Broken, OSError) as error:
                self.faults.append(str(error))
            except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
                self.faults.append(f"cannot be read: {type(error).__name__}: {error}")

    def _text(self, name: str) -> str:
        try:
            return (self.folder / name).read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise Broken(f"{name}: cannot be read: {error}") from None

    def _lines(self, name: str) -> list[str]:
        """Return a file's lines; `splitlines` would also split at what a flipped bit makes of a line feed."""
        text = self._text(name)
        if text and not text.endswith("\n"):
            raise Broken(f"{name}: does not end with its last line")
        return text.split("\n")[:-1]

    def _records(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Read a file of JSON lines, each in the one form that it is written in."""
        for number, line in enumerate(self._lines(name), 1):
            where = f"{name} line {number}"
            one = json.loads(line)
            if json.dumps(one, ensure_ascii=False, separators=(",", ":")) != line:
                self.faults.append(f"{where}: not in the form that was written")
            yield where, one

    def _read_package(self) -> None:
        self.told = json.loads(self._text(PACKAGE))
        if self.told["v"] != 1:
            raise Broken(f"{PACKAGE}: of form {self.told['v']}, which this program does not know")

    def _read_ledger(self, keys: list[Key], witnesses: list[str]) -> None:
        inside = [parse_key(line) for line in self._lines("ledger/keys.txt")]
        if not keys:
            self.notes.append(
                "the key is the package's own: compare it with the organ's: "
                + "; ".join(self._lines("ledger/keys.txt"))
            )
        elif not set(keys) & set(inside):
            self.faults.append("ledger/keys.txt: the key that was given is not among them")
        trusted = keys or inside
        try:
            self.head = open_checkpoint(self._text("ledger/checkpoint.txt"), trusted)
        except Broken as error:
            raise Broken(f"ledger/checkpoint.txt: {error}") from None
        for where, one in self._records("ledger/entries.ndjson"):
            self._read_entry(where, one, self.head)
        heads = self._read_consistency(trusted, self.head)
        for note in witnesses:
            self._compare(open_checkpoint(note, trusted), heads, self.head)

    def _read_entry(self, where: str, one: dict[str, Any], head: Head) -> None:
        index, line = one["index"], one["line"].encode()
        proof = _proof(one)
        if root_of_inclusion(index, head.size, leaf_hash(line), proof) != head.root:
            self.faults.append(f"{where}: entry {index} is not in the signed ledger")
        if self.entries and index <= self.entries[-1][0]:
            self.faults.append(f"{where}: out of order")
        self.entries.append((index, json.loads(line)))

    def _read_consistency(self, trusted: list[Key], head: Head) -> dict[int, bytes]:
        heads = {head.size: head.root}
        for where, one in self._records("ledger/consistency.ndjson"):
            try:
                old = open_checkpoint(one["note"], trusted)
            except Broken as error:
                self.faults.append(f"{where}: {error}")
                continue
            proof = _proof(one)
            if one["size"] != old.size:
                self.faults.append(f"{where}: its checkpoint is of {old.size} entries")
            if old.origin != head.origin or not is_consistent(old.size, head.size, old.root, head.root, proof):
                self.faults.append(f"{where}: the ledger does not begin as it was at {old.size} entries")
            heads[old.size] = old.root
        return heads

    def _compare(self, kept: Head, heads: dict[int, bytes], head: Head) -> None:
        if kept.origin != head.origin:
            self.faults.append(f"the witness's checkpoint is of another ledger: {kept.origin}")
        elif kept.size not in heads:
            self.notes.append(
                f"the witness's checkpoint of {kept.size} entries is not among those of the package "
                f"({min(heads)}…{max(heads)}); ask for a proof of consistency"
            )
        elif heads[kept.size] != kept.root:
            self.faults.append(f"the ledger is not the one that the witness saw at {kept.size} entries")
        else:
            self.notes.append(f"agrees with the witness's checkpoint of {kept.size} entries")

    def _check_files(self) -> None:
        listed = {one["file"]: one for one in [*self.told["objects"], *self.told["files"]]}
        present = {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if not path.is_dir()}
        for name in sorted(present - set(listed) - {PACKAGE, *LEDGER}):
            self.faults.append(f"{name}: does not belong to the package")
        for name in sorted(listed):
            path = self.folder / name
            if name not in present or path.is_symlink():
                self.faults.append(f"{name}: missing")
                continue
            if (path.stat().st_size, _sha256(path)) != (listed[name]["bytes"], listed[name]["sha256"]):
                self.faults.append(f"{name}: not the bytes that were exported")

    def _check_export(self) -> None:
        exports = [entry for _, entry in self.entries if entry["kind"] == "export"]
        digest = _sha256(self.folder / PACKAGE)
        if not any(one["body"].get("package_sha256") == digest for one in exports):
            self.faults.append(f"{PACKAGE}: no entry of the ledger says that this was exported")
        if self.head is not None and self.told["origin"] != self.head.origin:
            self.faults.append(f"{PACKAGE}: of the ledger {self.told['origin']}, not {self.head.origin}")

    def _check_objects(self) -> None:
        known = {entry["body"]["key"]: (index, entry) for index, entry in self.entries if is_stored(entry)}
        for one in self.told["objects"]:
            name = one["file"]
            found = known.get(one["key"])
            if found is None:
                self.faults.append(f"{name}: the ledger says nothing of {one['key']}")
                continue
            index, entry = found
            body = entry["body"]
            own = ("feed_id", "first_seq", "last_seq")
            if entry["kind"] == "backfill":
                own = ("delivered_at", "media", "via")
            fields = ("version_id", "sha256", "bytes", "from", "to", *own)
            different = [field for field in fields if body[field] != one[field]]
            if index != one["entry"] or different:
                self.faults.append(f"{name}: not what the ledger says: {', '.join(different) or 'entry'}")
            path = self.folder / name
            if path.is_file() and entry["kind"] == "segment":
                owner = {"recorder_id": entry.get("recorder_id"), "session_id": entry.get("session_id")}
                self.faults += [f"{name}: {fault}" for fault in manifest_faults(path, {**one, **owner})]
            if (entry.get("recorder_id"), entry.get("session_id")) != (
                self.told["recorder_id"],
                self.told["session_id"],
            ):
                self.faults.append(f"{name}: of another recorder or session")

    def _check_whole(self) -> None:
        """Nothing the ledger knows of the span is left out, and nothing is missing without being told."""
        objects = self.told["objects"]
        if objects != sorted(objects, key=lambda one: (one["from"], one.get("feed_id", ""), one.get("first_seq", 0))):
            self.faults.append(f"{PACKAGE}: its recordings are not in the order of their capture")
        listed = {one["key"] for one in objects}
        gone = {
            entry["body"]["key"]
            for _, entry in self.entries
            if entry["kind"] == "deletion" and entry["body"].get("stage") == "done"
        }
        for _, entry in self.entries:
            body = entry["body"]
            if is_stored(entry) and body["key"] not in listed | gone:
                self.faults.append(f"{body['key']}: in the ledger, and not in the package")
            if entry["kind"] == "gap" and body["id"] not in {one.get("id") for one in self.told["gaps"]}:
                self.faults.append(f"gap {body['id']}: in the ledger, and not told in {PACKAGE}")
        feeds: dict[str, list[dict[str, Any]]] = {}
        for one in objects:
            if "feed_id" in one:
                feeds.setdefault(one["feed_id"], []).append(one)
        for feed, parts in sorted(feeds.items()):
            parts.sort(key=lambda one: one["first_seq"])
            for before, after in zip(parts, parts[1:]):  # noqa: B905 - as old a Python as courts have
                self._check_between(feed, before, after, gone)

    def _check_between(self, feed: str, before: dict[str, Any], after: dict[str, Any], gone: set[str]) -> None:
        first, last = before["last_seq"] + 1, after["first_seq"] - 1
        if last < first:
            if last + 1 < first:
                self.faults.append(f"feed {feed}: fragment {after['first_seq']} is there twice")
            return
        spans = [(one["from"], one["to"]) for one in self.told["gaps"]]
        if any(start <= after["from"] and before["to"] <= end for start, end in spans):
            return
        deleted = [
            entry["body"] for _, entry in self.entries if entry["kind"] == "segment" and entry["body"]["key"] in gone
        ]
        if any(body["feed_id"] == feed and body["first_seq"] <= first for body in deleted):
            return
        self.faults.append(f"feed {feed}: fragments {first} to {last} are missing, and no gap tells of it")


def _proof(one: dict[str, Any]) -> list[bytes]:
    steps = [bytes.fromhex(step) for step in one["proof"]]
    if [step.hex() for step in steps] != one["proof"]:
        raise Broken("a proof that is not in the form that was written")
    return steps


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while True:
            piece = stream.read(CHUNK)
            if not piece:
                return digest.hexdigest()
            digest.update(piece)


def _given(text: str) -> str:
    """Return a file's text, or the text itself where there is no such file."""
    path = Path(text)
    return path.read_text(encoding="utf-8") if len(text) < 4096 and "\n" not in text and path.is_file() else text


def main(arguments: list[str] | None = None) -> int:
    """Check the package that is named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=str(Path(__file__).resolve().parent))
    parser.add_argument("--key", action="append", default=[])
    parser.add_argument("--witness", action="append", default=[])
    given = parser.parse_args(arguments)
    folder = Path(given.folder)
    if not folder.is_dir():
        print(f"{folder}: no folder 不是目录", file=sys.stderr)
        return 2
    try:
        keys = [parse_key(line) for text in given.key for line in _given(text).splitlines() if line]
        witnesses = [Path(name).read_text(encoding="utf-8") for name in given.witness]
    except (Broken, OSError, UnicodeDecodeError) as error:
        print(error, file=sys.stderr)
        return 2
    package = Package(folder)
    package.check(keys, witnesses)
    for note in package.notes:
        print(f"注意 note: {note}")
    for fault in package.faults:
        print(f"不符 fault: {fault}")
    count, size = len(package.told.get("objects", [])), package.head.size if package.head else 0
    if package.faults:
        print(f"校验未通过 NOT VERIFIED: {len(package.faults)} faults")
        return 1
    print(f"校验通过 VERIFIED: {count} recordings, {len(package.entries)} entries of a ledger of {size}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
