"""The process that holds the embedded language model: `python -m crewserve.crew.model_server`.

Standard input gives the API key on its first line and then stays open for as long as the parent
lives. Standard output gets one line: the port on 127.0.0.1, or the reason why there is none.
Standard error is the log.
"""

import os
import sys
from pathlib import Path

from xllamacpp import CommonParams, Server, ggml_type

from crewserve.crew.processes import die_with_parent, yield_to_the_api

MODEL_NAME = "smollm2-135m"
PARALLEL_REQUESTS = 4
CONTEXT_TOKENS_PER_REQUEST = 2048
ANSWER_TOKENS_AT_MOST = 512
THREADS_AT_MOST = 4
"""More threads gain nothing with a model this small."""
CPUS_PER_THREAD = 4
"""The threads of one token spin while they wait for each other. Where flows keep all CPUs busy, two
threads on two CPUs took 19 to 48 s for 60 tokens, one thread 5 s (on idle CPUs 1.0 s and 1.3 s)."""
WARNINGS = 2
"""Verbosity of llama.cpp; at its default of 3 each request adds nine lines to the log."""


def main() -> None:
    parent = os.getppid()
    announcement = _take_standard_output()
    die_with_parent(parent)
    yield_to_the_api()
    api_key = sys.stdin.readline().strip()
    try:
        server = _serve(Path(sys.argv[1]), api_key=api_key)
    except Exception as error:
        os.write(announcement, f"{error}\n".encode())
        raise
    port = server.listening_address.rpartition(":")[2]
    os.write(announcement, f"{port}\n".encode())
    os.close(announcement)
    sys.stdin.read()
    # The parent is gone or has closed us: nothing here is worth an orderly end.
    os._exit(0)


def _take_standard_output() -> int:
    """Keep standard output for the announcement; what llama.cpp prints goes to the log."""
    announcement = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return announcement


def _serve(weights: Path, *, api_key: str) -> Server:
    """Load the model and listen on a free port of 127.0.0.1; requests run on threads of C++."""
    if not api_key:
        raise ValueError("The API key is missing on the first line of standard input")
    if not weights.is_file():
        raise FileNotFoundError(f"There is no model file at {weights}")
    params = CommonParams()
    params.model.path = str(weights)
    params.model_alias = {MODEL_NAME}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [api_key]
    params.verbosity = WARNINGS
    params.ui = False
    params.endpoint_slots = False
    _bound_resources(params)
    _choose_sampling(params)
    return Server(params)


def _bound_resources(params: CommonParams) -> None:
    threads = max(1, min(THREADS_AT_MOST, _usable_cpus() // CPUS_PER_THREAD))
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.n_parallel = PARALLEL_REQUESTS
    params.n_ctx = PARALLEL_REQUESTS * CONTEXT_TOKENS_PER_REQUEST
    params.n_predict = ANSWER_TOKENS_AT_MOST
    # Eight-bit attention cache: 85 MB less, and no slower on a CPU.
    params.cache_type_k = ggml_type.GGML_TYPE_Q8_0
    params.cache_type_v = ggml_type.GGML_TYPE_Q8_0
    # The default keeps up to 8 GB of old prompts in memory.
    params.cache_ram_mib = 0
    params.cache_idle_slots = False


def _usable_cpus() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _choose_sampling(params: CommonParams) -> None:
    """Tried on short poems: hotter it rambles, and without the penalty it runs in circles."""
    params.sampling.temp = 0.4
    params.sampling.top_p = 0.9
    params.sampling.penalty_repeat = 1.1


if __name__ == "__main__":
    main()
