"""A language model provider on the loopback that answers at once: `python -m ... PORT`."""

import sys
import time

from aiohttp import web

ANSWER = "Thought: I now can give a great answer\nFinal Answer: The sea is wide."


async def complete(request: web.Request) -> web.Response:
    asked = await request.json()
    message = {"role": "assistant", "content": ANSWER}
    return web.json_response(
        {
            "id": "chatcmpl-benchmark",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": asked["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 90, "completion_tokens": 15, "total_tokens": 105},
        }
    )


async def health(_: web.Request) -> web.Response:
    return web.json_response({"status": "healthy"})


def main() -> None:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    app.router.add_get("/health", health)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()
