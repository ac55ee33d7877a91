"""gunicorn reads this file: each of its processes starts its worker when it begins, and stops it when it ends."""

import deferq


def post_worker_init(worker):
    deferq.start()


def worker_exit(server, worker):
    deferq.stop()
