#!/usr/bin/env python3
"""Changes names through two clients of one folder at once, and knows what each call must answer.

    names.py STOP FOLDER OTHER     FOLDER and OTHER are the same folder as two clients see it; ends when the
                                   file STOP is there, and prints how many changes were made

Each client has a folder of its own, in which a model tells the answer to every call, and both contend for names
in a third: how often each was made, moved and removed must come out. Ends with exit status 1, and says why, at the
first answer that is not as it must be.
"""

import errno
import os
import random
import sys
import threading
import time
import traceback

failures = []


def outcome(call, *arguments):
    """The error number of a call, 0 when it succeeded."""
    try:
        call(*arguments)
        return 0
    except OSError as error:
        return error.errno


def create(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))


def name_of(number):
    return errno.errorcode.get(number, "success") if number else "success"


class Own:
    """A folder that only one client uses. The model: name → (kind, inode number)."""

    def __init__(self, folder, seed):
        self.folder, self.model, self.random = folder, {}, random.Random(seed)
        self.changes = 0
        os.mkdir(folder)

    def step(self):
        one, other = (f"name-{self.random.randrange(12)}" for _ in range(2))
        operation = self.random.choice(
            [self.create, self.mkdir, self.symlink, self.unlink, self.rmdir, self.link, self.rename])
        operation(one, other)
        self.changes += 1

    def expect(self, wanted, what, call, *arguments):
        got = outcome(call, *arguments)
        if got != wanted:
            raise AssertionError(f"{what} in {self.folder}: {name_of(got)} and not {name_of(wanted)}")
        return got == 0

    def path(self, name):
        return f"{self.folder}/{name}"

    def add(self, kind, name, call, *arguments):
        if self.expect(errno.EEXIST if name in self.model else 0, f"{kind} {name}", call, *arguments):
            self.model[name] = (kind, os.lstat(self.path(name)).st_ino)

    def create(self, one, _):
        self.add("file", one, create, self.path(one))

    def mkdir(self, one, _):
        self.add("folder", one, os.mkdir, self.path(one))

    def symlink(self, one, _):
        self.add("symlink", one, os.symlink, "target", self.path(one))

    def unlink(self, one, _):
        kind = self.model.get(one, (None,))[0]
        wanted = {None: errno.ENOENT, "folder": errno.EISDIR}.get(kind, 0)
        if self.expect(wanted, f"unlink {one}", os.unlink, self.path(one)):
            del self.model[one]

    def rmdir(self, one, _):
        kind = self.model.get(one, (None,))[0]
        wanted = {None: errno.ENOENT, "folder": 0}.get(kind, errno.ENOTDIR)
        if self.expect(wanted, f"rmdir {one}", os.rmdir, self.path(one)):
            del self.model[one]

    def link(self, one, other):
        kind = self.model.get(one, (None,))[0]
        if kind == "symlink":
            return
        wanted = 0
        if kind is None:
            wanted = errno.ENOENT
        elif other in self.model:
            wanted = errno.EEXIST
        elif kind == "folder":
            wanted = errno.EPERM
        if self.expect(wanted, f"link {one} {other}", os.link, self.path(one), self.path(other)):
            self.model[other] = self.model[one]

    def rename(self, one, other):
        source, target = self.model.get(one), self.model.get(other)
        wanted = 0
        if source is None:
            wanted = errno.ENOENT
        elif target and source[0] == "folder" and target[0] != "folder":
            wanted = errno.ENOTDIR
        elif target and source[0] != "folder" and target[0] == "folder":
            wanted = errno.EISDIR
        done = self.expect(wanted, f"rename {one} {other}", os.rename, self.path(one), self.path(other))
        # Two names of one file stay both.
        if done and source != target:
            self.model[other] = self.model.pop(one)

    def finish(self):
        found = {name: os.lstat(self.path(name)).st_ino for name in os.listdir(self.folder)}
        wanted = {name: inode for name, (_, inode) in self.model.items()}
        if found != wanted:
            raise AssertionError(f"{self.folder} holds {found} and not {wanted}")


class Contest:
    """Names that both clients want. Counts what each was told.

    A seat is made exclusively, and removed only by who made it. A prize is there for both to remove, so it is made
    by a link: an exclusive creation of NFS version 3 is two calls, CREATE and SETATTR, and a client whose file is
    removed by another between the two makes it anew, by whichever server."""

    def __init__(self, folder):
        self.folder = folder
        self.lock = threading.Lock()
        self.made, self.removed, self.there, self.back, self.next = {}, {}, 0, 0, 0
        os.mkdir(folder)
        create(f"{folder}/ball-here")
        create(f"{folder}/source")

    def draw(self):
        with self.lock:
            self.next += 1
            return self.next // 2

    def note(self, counts, name):
        with self.lock:
            counts[name] = counts.get(name, 0) + 1

    def finish(self):
        """Looks through a client that has forgotten what it knew."""
        left = set(os.listdir(self.folder))
        for name in self.made.keys() | self.removed.keys() | left - {"source", "ball-here", "ball-there"}:
            made, removed = self.made.get(name, 0), self.removed.get(name, 0)
            if made - removed != (name in left):
                raise AssertionError(f"{name}: made {made} times, removed {removed} times, {left}")
        balls = left & {"ball-here", "ball-there"}
        if len(balls) != 1 or self.there - self.back != ("ball-there" in balls):
            raise AssertionError(f"ball: {self.there} there, {self.back} back, {balls}")


class Contestant:
    """One client's part in a contest."""

    def __init__(self, contest, folder):
        self.contest, self.folder, self.changes = contest, folder, 0

    def allow(self, result, *allowed):
        if result and result not in allowed:
            raise AssertionError(f"{name_of(result)} in {self.folder}")
        return result == 0

    def attempt(self, counts, name, result, *allowed):
        done = self.allow(result, *allowed)
        if done:
            self.contest.note(counts, name)
        return done

    def step(self):
        contest, turn = self.contest, self.contest.draw()
        seat, prize = f"seat-{turn}", f"prize-{turn}"
        path = f"{self.folder}/{seat}"
        if self.attempt(contest.made, seat, outcome(create, path), errno.EEXIST):
            self.attempt(contest.removed, seat, outcome(os.unlink, path))
        path = f"{self.folder}/{prize}"
        self.attempt(contest.made, prize, outcome(os.link, f"{self.folder}/source", path), errno.EEXIST)
        self.attempt(contest.removed, prize, outcome(os.unlink, path), errno.ENOENT)
        here, there = f"{self.folder}/ball-here", f"{self.folder}/ball-there"
        gone = self.allow(outcome(os.rename, here, there), errno.ENOENT)
        back = self.allow(outcome(os.rename, there, here), errno.ENOENT)
        with contest.lock:
            contest.there += gone
            contest.back += back
        self.changes += 4

    def finish(self):
        pass


def run(task, stop):
    try:
        while not os.path.exists(stop) and not failures:
            task.step()
        task.finish()
    except Exception:
        failures.append(traceback.format_exc(limit=3))


def main(stop, folder, other):
    contest = Contest(f"{folder}/contest")
    tasks = [Own(f"{folder}/first", 1), Own(f"{other}/second", 2),
             Contestant(contest, f"{folder}/contest"), Contestant(contest, f"{other}/contest")]
    threads = [threading.Thread(target=run, args=(task, stop)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not failures:
        # What a client remembers of names that the other changed may be half a minute old.
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("3")
        try:
            contest.finish()
        except AssertionError as error:
            failures.append(str(error))
    if failures:
        sys.exit("names: " + "\n".join(failures))
    print(" + ".join(str(task.changes) for task in tasks), "changes of names")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
