"""The model card of a published adapter: what it is, how well it does, and a snippet that repeats its predictions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from job.contract.config import PlannedTrial, Request
from job.contract.documents import MetricValue, ScoredSplit, SettingValue
from job.prompts import ChatFrame

__all__ = ["model_card"]

_CARD = """\
---
{front_matter}---

# {title}

A LoRA adapter for `{base}`, trained by lorasweep as configuration
**{letter}** of the sweep `{sweep}` (run `{run}`): {label}.

| split | metric | mean | rows |
|---|---|---|---|
{metrics}

## Use

{snippet}

## Made from

| | |
|---|---|
| base model | `{base}` ({model_digest}) |
| data | `{data}` ({data_digest}) |
| trial | `{trial_id}`, adapter `{adapter_id}`, configuration `{config_id}`, seed {seed} |
| spec | sha256 `{spec_sha256}` |

{config}
"""

_SNIPPET = """\
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

BASE = {base!r}{base_comment}
ADAPTER = "."  # this folder
PROMPT = {prompt!r}

tokenizer = AutoTokenizer.from_pretrained(BASE)
base = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.{dtype})
model = PeftModel.from_pretrained(base, ADAPTER).eval()
generation = GenerationConfig(**{generation})
# generate() fills what is unset from the model's own settings, which are not those of the sweep.
model.generation_config = generation


def write(row: dict[str, str]) -> str:
{tokenize}
    with torch.inference_mode():
        output = model.generate(**inputs, generation_config=generation)
    return tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()


print(write({example}))
"""

_PLAIN = """\
    text = PROMPT.format(**row).rstrip()
    inputs = tokenizer(text, return_tensors="pt")"""
_CHAT = """\
    # The model's chat template around the text, as it was in training.
    text = {before!r} + PROMPT.format(**row).strip() + {after!r}
    inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")"""


def model_card(
    *,
    request: Request,
    trial: PlannedTrial,
    metrics: Mapping[ScoredSplit, Mapping[str, MetricValue]],
    generation: Mapping[str, SettingValue],
    fields: tuple[str, ...],
    frame: ChatFrame | None,
) -> str:
    """README.md of the adapter folder.

    `generation` is the recorded GenerationConfig that scored the trial, `fields` the columns of its prompt, `frame`
    what the chat template puts around it. No local path appears: a base model from a folder is named by its last part
    and its digest.
    """
    config = trial.config
    prompt, lora = config.prompt, config.lora
    if prompt is None or lora is None:
        raise ValueError(f"trial {trial.trial_id} has no adapter")
    base = request.model.public_name
    snippet = _SNIPPET.format(
        base=base,
        base_comment="" if request.model.kind == "hub" else f"  # a folder with the model of {request.model.digest}",
        prompt=prompt.prompt,
        dtype=config.model.dtype,
        generation=_python(_generation_arguments(generation)),
        tokenize=_PLAIN if frame is None else _CHAT.format(before=frame.before, after=frame.after),
        example=_python(dict.fromkeys(fields, "...")),
    )
    return _CARD.format(
        front_matter=_front_matter(request, trial, metrics),
        title=f"{request.sweep} {trial.letter}",
        base=base,
        letter=trial.letter,
        sweep=request.sweep,
        run=request.run,
        label=trial.label.replace("|", "\\|"),
        metrics=_table(metrics),
        snippet=_fenced(snippet, language="python"),
        model_digest=config.model.digest,
        data=request.data.public_name,
        data_digest=config.data.digest,
        trial_id=trial.trial_id,
        adapter_id=trial.adapter_id,
        config_id=trial.config_id,
        seed=trial.seed,
        spec_sha256=request.spec_sha256,
        config=_fenced(config.model_dump_json(indent=1, exclude_defaults=True) + "\n", language="json"),
    )


def _fenced(code: str, *, language: str) -> str:
    """A Markdown code block whose fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code}{fence}"


def _generation_arguments(recorded: Mapping[str, SettingValue]) -> dict[str, Any]:
    """Arguments for GenerationConfig from their stored form, which writes several end tokens as `1,2`."""
    ends = [int(token) for token in str(recorded["eos_token_id"]).split(",")]
    return {**recorded, "eos_token_id": ends}


def _front_matter(
    request: Request, trial: PlannedTrial, metrics: Mapping[ScoredSplit, Mapping[str, MetricValue]]
) -> str:
    """YAML for model hubs; JSON values are YAML values, so quoting is left to json."""
    base = request.model.public_name
    results = [
        {
            "task": {"type": "text-generation"},
            "dataset": {"name": request.data.public_name, "type": request.data.public_name, "split": split},
            "metrics": [{"type": name, "value": round(value.mean, 6)} for name, value in sorted(values.items())],
        }
        for split, values in sorted(metrics.items())
    ]
    fields: dict[str, Any] = {
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["lora", "lorasweep", f"base_model:adapter:{base}"],
        "model-index": [{"name": f"{request.sweep}-{trial.letter}", "results": results}],
    }
    if request.model.kind == "hub":
        fields["base_model"] = base
    return "".join(f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in fields.items())


def _table(metrics: Mapping[ScoredSplit, Mapping[str, MetricValue]]) -> str:
    return "\n".join(
        f"| {split} | {name} | {value.mean:.4f} | {value.n} |"
        for split, values in sorted(metrics.items())
        for name, value in sorted(values.items())
    )


def _python(value: Mapping[str, Any]) -> str:
    return repr(dict(value))
