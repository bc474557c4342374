#!/usr/bin/env python3
"""Changes one thing at a time in src/ and sees whether a ctest notices.

usage: python3 tests/mutate.py [--all | --sample N] [--seed S] [--quick SECONDS] [--build DIRECTORY] FILE...
       python3 tests/mutate.py --list [FILE...]   print the mutants, and try none

FILE is a file of src/, such as quota.c. Of its mutants N, drawn by S, are tried (100, by 1), or all. In a
copy of the tree under DIRECTORY (build/mutate) each is compiled, with what includes it, and run under the
ctests: first those that have the file's name, then from the quickest to the slowest, until one fails,
crashes, or takes far longer than it should; --quick leaves out those that take longer than that. Mutants
that do not compile, or of which the compiler makes the same code, are not counted; nor is what is for tools
only: Valgrind, AddressSanitizer, probes.

A mutant that no test can kill is listed in mutate_equivalent.txt, with the reason. Exit status: 1 where
fewer than 90 % were killed, where a survivor is not in the list, or where the list is out of date: it has
something that is no mutant any more, or, with --all, that a test does kill, and not by chance.
"""

import argparse
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIST = os.path.join(ROOT, "tests", "mutate_equivalent.txt")
TESTS = re.compile(r"^(test_|no_region_|inside_)")
KILLED_ENOUGH = 0.9
PATIENCE = 10  # seconds, and times as long as the test takes, until it counts as hung

# ---- mutants ----

OPERATORS = {
    "==": "!=", "!=": "==", "<=": "<", ">=": ">", "<": "<=", ">": ">=", "&&": "||", "||": "&&",
    "<<": ">>", ">>": "<<", "+=": "-=", "-=": "+=", "++": "--", "--": "++",
    "+": "-", "-": "+", "&": "|", "|": "&", "!": "", "~": "",
}
WORDS = {"true": "false", "false": "true"}
TOKEN = re.compile(r"->|\+\+|--|[=!<>+\-*/&|^%]=|<<|>>|&&|\|\||[+\-&|!~<>]"
                   r"|\b(?:0x[0-9a-f]+|[0-9]+)u?\b|\btrue\b|\bfalse\b")
# A unary operator follows one of these; so does what follows a cast, which is why it is left alone.
BEFORE_UNARY = re.compile(r"(^|[=(,?:{&|!<>+\-*/%^~]|\breturn|\bcase|\((?:void|size_t|uintptr_t|unsigned|char \*|uint\d+_t)\))\s*$")
DECLARATION = re.compile(r"(?:static |const |extern |struct |enum |unsigned |_Atomic\(.*?\) )*\w+[ *]+\w+(\[.*\])*( =.*)?;$", re.S)
SKIPPED = re.compile(r"\s*(#|static_assert|typedef|extern|__asm__|JM_ASSERT|case |default:|jm_inspect_\w+\()")
CONDITION = re.compile(r"\b(?:if|while) \(((?:[^()!=<>&|]|->|\([^()]*\))+)\) \{")
STATEMENT = re.compile(r"^ +((?:\(void\)|\*|\+\+|--)?[a-z]\w*[^;{}]*;)", re.M)


class Mutant:
    def __init__(self, file, text, start, end, new):
        self.file, self.start, self.end, self.new = file, start, end, new
        self.old = text[start:end]
        self.number = text.count("\n", 0, start) + 1
        begin = text.rfind("\n", 0, start) + 1
        self.line = text[begin:text.find("\n", start)].strip()
        same = [match.group() for match in TOKEN.finditer(text, begin, start)].count(self.old)
        number = f" number {same + 1}" if same > 0 else ""  # tells apart what is twice in a line
        self.change = f"{self.flat(self.old)}{number} -> {self.new or 'nothing'}"
        names = re.findall(r"^\w[^\n;]*?(\w+)\(", text[:start], re.M)
        self.function = names[-1] if names else ""

    @staticmethod
    def flat(text):
        return re.sub(r"\s+", " ", text)

    def key(self):
        return f"{self.file}: {self.function}: {self.line} [{self.change}]"

    def __str__(self):
        return f"{self.file}:{self.number}: {self.line}   [{self.change}]"


def blank_comments(text):
    """The text with comments, strings and the preprocessor's lines as blanks."""
    pattern = r"/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|^#(?:[^\n]*\\\n)*[^\n]*"
    return re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S | re.M)


def mutants_of(file, text):
    code = blank_comments(text)
    for begin, end in function_bodies(code):
        for match in TOKEN.finditer(code, begin, end):
            new = change_of(match.group(), code, match)
            if new is not None:
                yield Mutant(file, text, match.start(), match.end(), new)
        for match in CONDITION.finditer(code, begin, end):
            yield Mutant(file, text, match.start(1), match.end(1), f"!({match.group(1)})")
        for match in STATEMENT.finditer(code, begin, end):
            statement = match.group(1)
            if code[:match.start()].rstrip()[-1] not in ";{}":
                continue
            indent = match.start(1) - code.rfind("\n", 0, match.start(1)) - 1
            first = statement.split()[0]
            is_last_return = first == "return" and indent == 4
            if not DECLARATION.match(statement) and not is_last_return and \
                    first not in ("if", "for", "while", "do", "else", "case", "struct", "const"):
                yield Mutant(file, text, match.start(1), match.end(1), ";")


def function_bodies(code):
    """From { at the start of a line to } there."""
    for match in re.finditer(r"^\{$.*?^\}$", code, re.S | re.M):
        yield match.start(), match.end()


def change_of(token, code, match):
    line = code[code.rfind("\n", 0, match.start()) + 1:match.start()]
    if SKIPPED.match(code, code.rfind("\n", 0, match.start()) + 1):
        return None
    if token[0].isdigit():
        return constant_after(token)
    if token in WORDS:
        return WORDS[token]
    if token in ("+", "-", "&") and BEFORE_UNARY.search(line):
        return None
    return OPERATORS.get(token)


def constant_after(token):
    digits = token.rstrip("u")
    return "1" if int(digits, 0) == 0 else token.replace(digits, str(int(digits, 0) + 1))


# ---- the copy of the tree ----

class Tree:
    def __init__(self, directory):
        self.source = os.path.join(directory, "tree")
        self.build = os.path.join(directory, "build")
        shutil.rmtree(self.source, ignore_errors=True)
        # With new times: what is built already may be of a mutant.
        shutil.copytree(ROOT, self.source, ignore=shutil.ignore_patterns("build*", ".git"),
                        copy_function=shutil.copy)
        generator = ["-G", "Ninja"] if shutil.which("ninja") else []
        self.run("cmake", "-S", self.source, "-B", self.build, "-DCMAKE_BUILD_TYPE=Mutants",
                 f"-DCMAKE_C_FLAGS=-O1 -include {self.source}/tests/coverage/weak_swap.h", "-DJSRTMEM_HARDENING=OFF", "-DJSRTMEM_EXAMPLES=OFF", "-DJSRTMEM_TOOLS=OFF",
                 "-DCMAKE_LINK_DEPENDS_NO_SHARED=ON", *generator)
        self.run("cmake", "--build", self.build)
        self.objects = self.hash_objects()

    @staticmethod
    def run(*command):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            sys.exit(done.stdout.decode()[-4000:])

    def path(self, file):
        return os.path.join(self.source, "src", file)

    def write(self, file, text):
        with open(self.path(file), "w", encoding="utf-8") as out:
            out.write(text)

    def make(self, target):
        command = ["cmake", "--build", self.build, "--target", target]
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              check=False).returncode == 0

    def hash_objects(self):
        hashes = {}
        folder = os.path.join(self.build, "CMakeFiles", "jsrtmem_objects.dir", "src")
        for name in os.listdir(folder):
            if name.endswith((".o", ".obj")):
                with open(os.path.join(folder, name), "rb") as file:
                    hashes[name] = hashlib.sha256(file.read()).digest()
        return hashes


# ---- tests ----

class Test:
    def __init__(self, entry):
        self.name, self.command = entry["name"], entry["command"]
        self.target = re.sub(r"^no_region_|_million$", "", self.name)
        self.environment = dict(os.environ)
        for item in entry.get("properties", []):
            if item["name"] == "ENVIRONMENT":
                self.environment.update(value.split("=", 1) for value in item["value"])
        self.seconds = 0.0

    def passes(self, folder, limit):
        process = subprocess.Popen(self.command, cwd=folder, env=self.environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   start_new_session=True, preexec_fn=be_expendable)
        try:
            return process.wait(limit) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()


def be_expendable():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def find_tests(tree, limit):
    """All ctests that run the library, with the time that each takes."""
    text = subprocess.run(["ctest", "--show-only=json-v1"], cwd=tree.build, stdout=subprocess.PIPE,
                          check=True).stdout
    tests = [Test(entry) for entry in json.loads(text)["tests"] if TESTS.match(entry["name"])]
    for test in tests:
        begin = time.monotonic()
        passes = test.passes(tree.build, limit)
        test.seconds = time.monotonic() - begin
        if not passes and test.seconds < limit:
            sys.exit(f"{test.name} fails without a mutant, after {test.seconds:.1f} s")
    return tests


def order_for(file, tests):
    stem = os.path.splitext(file)[0]
    return sorted(tests, key=lambda test: (stem not in test.name, test.seconds))


# ---- trying ----

def try_mutant(tree, mutant, text, tests):
    """None: not to be counted. Else the test that killed it, or an empty string."""
    tree.write(mutant.file, text[:mutant.start] + mutant.new + text[mutant.end:])
    if not tree.make("jsrtmem_objects") or tree.hash_objects() == tree.objects:
        return None
    for test in tests:
        if not tree.make(test.target):
            return None
        if not test.passes(tree.build, PATIENCE + PATIENCE * test.seconds):
            return test.name
    return ""


def read_list():
    """key -> reason; two lines an entry, the reason indented."""
    entries = {}
    key = None
    with open(LIST, encoding="utf-8") as file:
        for line in file:
            if line.startswith(" "):
                entries[key] = f"{entries[key]} {line.strip()}".strip()
            elif line.strip() and not line.startswith("#"):
                key = line.strip()
                entries[key] = ""
    return entries


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # which ends the test that runs
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", type=float, default=600)
    parser.add_argument("--list", action="store_true", help="print the mutants, of all files by default")
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "mutate"))
    parser.add_argument("files", nargs="*", metavar="FILE")
    arguments = parser.parse_args()
    if arguments.list and not arguments.files:
        arguments.files = sorted(name for name in os.listdir(os.path.join(ROOT, "src")) if name.endswith((".c", ".h")))
    if not arguments.files:
        parser.error("which FILE?")

    texts, mutants = {}, []
    for file in arguments.files:
        with open(os.path.join(ROOT, "src", file), encoding="utf-8") as source:
            texts[file] = source.read()
        mutants += mutants_of(file, texts[file])
    explained = {key: why for key, why in read_list().items() if key.split(":")[0] in texts}
    keys = {mutant.key() for mutant in mutants}
    problems = [f"listed, but no mutant: {key}" for key in explained if key not in keys]
    problems += [f"listed without a reason: {key}" for key, why in explained.items() if not why]
    if arguments.list:
        print(*mutants, *problems, sep="\n")
        sys.exit(1 if problems else 0)

    made = len(mutants)
    if not arguments.all and arguments.sample < made:
        mutants = random.Random(arguments.seed).sample(mutants, arguments.sample)
    print(f"{len(mutants)} of {made} mutants of {' '.join(arguments.files)}, seed {arguments.seed}", flush=True)
    tree = Tree(arguments.build)
    tests = [test for test in find_tests(tree, arguments.quick) if test.seconds < arguments.quick]
    print(*(f"{test.name} {test.seconds:.1f}" for test in sorted(tests, key=lambda test: test.seconds)), flush=True)
    killed = same = 0
    survivors = []
    for mutant in mutants:
        if mutant.key() in explained and not arguments.all:
            survivors.append(mutant)
            continue
        killer = try_mutant(tree, mutant, texts[mutant.file], order_for(mutant.file, tests))
        tree.write(mutant.file, texts[mutant.file])
        if killer is None:
            same += 1
        elif killer:
            killed += 1
            if not explained.get(mutant.key(), "By chance").startswith("By chance"):
                problems.append(f"listed, but killed by {killer}: {mutant.key()}")
        else:
            survivors.append(mutant)
        result = {None: "not counted", "": "SURVIVED"}.get(killer, killer)
        print(f"{result:24s} {mutant}", flush=True)

    counted = killed + len(survivors)
    unexplained = [mutant for mutant in survivors if mutant.key() not in explained]
    print(f"\n{killed} of {counted} killed, {100 * killed / max(counted, 1):.1f} %; {same} do not compile or"
          f" change nothing; of {len(survivors)} survivors {len(survivors) - len(unexplained)} are explained")
    for mutant in survivors:
        print(f"{mutant}\n    {explained.get(mutant.key(), 'NOT EXPLAINED')}")
    print("\n".join(problems))
    sys.exit(1 if unexplained or problems or killed < KILLED_ENOUGH * counted else 0)


main()
