"""Text, numbers, threads, a fork: what a script does all day. Prints checksums."""
import hashlib
import json
import os
import queue
import random
import re
import sys
import threading
import zlib

random.seed(7)


def digest(value):
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


records = [{"id": i, "name": "n%d" % random.randrange(10**9), "tags": [str(i % 7)] * (i % 11),
            "score": random.random()} for i in range(20000)]
text = json.dumps(records, sort_keys=True)
assert json.loads(text) == records
print("json", len(text), digest(text))
packed = zlib.compress(text.encode(), 6)
print("zlib", len(packed), digest(zlib.decompress(packed)))
print("words", digest(sorted(re.findall(r"n(\d+)", text))[:1000]))
print("big", digest(3 ** 20000 % (10 ** 300)))

jobs, results = queue.Queue(), queue.Queue()


def work():
    """Makes objects that other threads drop."""
    while (job := jobs.get()) is not None:
        results.put((job, ["%d-%d" % (job, i) * (i % 50) for i in range(500)]))


threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for job in range(200):
    jobs.put(job)
for _ in threads:
    jobs.put(None)
for thread in threads:
    thread.join()
print("threads", digest(sorted(results.get() for _ in range(200))))
for i in range(100):
    thread = threading.Thread(target=lambda: bytes(100000))
    thread.start()
    thread.join()

sys.stdout.flush()
child = os.fork()
if child == 0:
    print("child", digest([str(record) for record in records]))
    sys.exit(0)
print("status", os.waitpid(child, 0)[1])
matrix = [[random.random() for _ in range(120)] for _ in range(120)]
product = [[sum(a * b for a, b in zip(row, column)) for column in zip(*matrix)] for row in matrix]
print("matrix", digest(product))
