#!/usr/bin/env python3
"""Says which branches of src/ the tests took, from gcov's data of the library's objects.

usage: report.py GCOV SOURCE_FOLDER OBJECT_FOLDER

A line that no test reaches for certain ends in /* untested: REASON */. Exit status 1: a line or branch
without such a mark was never taken, or more than MAX_MARKED of the lines have one.

What is counted: the outcomes of each condition, as gcov has them for code that is not optimised,
added up over all objects that a function is in. The edges of exceptions, which the compiler puts
behind every call that it cannot see through, are left out.
"""

import collections
import glob
import json
import os
import re
import subprocess
import sys

MAX_MARKED = 0.02
MARK = re.compile(r"/\* untested: (.*?) \*/")


def conditions(branches):
    """The arcs of a line but those of calls: one that throws, and the one before it, which returns."""
    kept = []
    for arc in branches:
        if arc["throw"]:
            kept.pop()
        else:
            kept.append(arc["count"])
    return kept


def read_counters(gcov, sources, objects):
    """file -> line -> (times, function -> times of each arc)"""
    files = collections.defaultdict(dict)
    data = sorted(glob.glob(os.path.join(objects, "*.gcno")))
    if not data:
        sys.exit(f"{objects}: no counters")
    text = subprocess.run([gcov, "--json-format", "--stdout", "--branch-probabilities", *data],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, cwd=objects).stdout
    for part in text.decode().splitlines():
        for file in json.loads(part)["files"]:
            if os.path.dirname(file["file"]) != sources:
                continue
            lines = files[os.path.basename(file["file"])]
            for line in file["lines"]:
                merge(lines, line, conditions(line["branches"]))
    return files


def merge(lines, line, arcs):
    times, functions = lines.get(line["line_number"], (0, {}))
    function = line.get("function_name", "")
    old = functions.get(function, [0] * len(arcs))
    assert len(old) == len(arcs), f"{function}: its objects differ"
    functions[function] = [a + b for a, b in zip(old, arcs)]
    lines[line["line_number"]] = (times + line["count"], functions)


def share(part, whole):
    return f"{part:5d} of {whole:5d} {100 if whole == 0 else 100 * part / whole:6.1f} %"


class Sum:
    lines = lines_taken = branches = branches_taken = 0

    def add(self, times, arcs):
        self.lines += 1
        self.lines_taken += times > 0
        self.branches += len(arcs)
        self.branches_taken += sum(arc > 0 for arc in arcs)

    def __str__(self):
        return f"{share(self.lines_taken, self.lines)}   {share(self.branches_taken, self.branches)}"


def main():
    gcov, sources, objects = sys.argv[1], os.path.realpath(sys.argv[2]), sys.argv[3]
    files = read_counters(gcov, sources, objects)
    total = Sum()
    missing, marked = [], []
    print(f"{'':16s} {'lines':>20s}   {'branches':>20s}")
    for name in sorted(files):
        with open(os.path.join(sources, name), encoding="utf-8") as file:
            text = file.read().splitlines()
        own = Sum()
        for number, (times, functions) in sorted(files[name].items()):
            arcs = [arc for function in functions.values() for arc in function]
            own.add(times, arcs)
            total.add(times, arcs)
            mark = MARK.search(text[number - 1])
            where = f"{name}:{number}: {text[number - 1].strip()}"
            if mark:
                marked.append(f"{where}{'' if times == 0 or 0 in arcs else '   (and was taken)'}")
            elif times == 0:
                missing.append(f"{where}\n    never")
            elif 0 in arcs:
                untaken = [str(i + 1) for i, arc in enumerate(arcs) if arc == 0]
                missing.append(f"{where}\n    branch {', '.join(untaken)} of {len(arcs)}")
        print(f"{name:16s} {own}")
    print(f"{'all':16s} {total}")

    print("\nOn this machine: os_windows.c, and what other machines compile instead, is not counted.")
    print(f"Marked as untested: {share(len(marked), total.lines).strip()} of the lines")
    for line in marked:
        print(f"  {line}")
    if missing:
        print("\nNever taken, and not marked:")
        for line in missing:
            print(line)
    sys.exit(1 if missing or len(marked) > MAX_MARKED * total.lines else 0)


main()
