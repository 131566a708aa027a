#!/usr/bin/env python3
"""A scheduler for edgeIO: the candidate with most memory left per replica gets it, and nobody below 64 MB.

    python3 schedulers/examples/most_free.py 10005
    cluster-orchestrator --scheduler http://127.0.0.1:10005 …
"""
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def choose(question):
    """An answer: the id of one of the candidates, or none and why."""
    rest = lambda it: it["memory_free_in_mb"] - question["memory_in_mb"]
    fit = [it for it in question["candidates"] if rest(it) >= 64]
    if not fit:
        return {"choose": None, "reason": "it would leave less than 64 MB free everywhere"}
    return {"choose": max(fit, key=lambda it: rest(it) / (1 + it["replicas"]))["id"]}


class Scheduler(BaseHTTPRequestHandler):
    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps(choose(question)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Scheduler).serve_forever()
