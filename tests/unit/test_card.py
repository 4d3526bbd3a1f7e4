import re

import pytest
from fake_sweep import DIGEST, planned

from job.contract.config import (
    DataOptions,
    GenerationOptions,
    LoraOptions,
    ModelOptions,
    PromptTemplate,
    Request,
    Source,
    TrainingOptions,
    TrialConfig,
)
from job.contract.documents import MetricValue
from job.prompts import ChatFrame
from job.publishing.card import model_card


def card(
    prompt: str, *, location: str = "/home/someone/models/base", label: str = "lora.r=8", frame: ChatFrame | None = None
) -> str:
    config = TrialConfig(
        model=ModelOptions(digest=DIGEST),
        data=DataOptions(digest=DIGEST, splits={"train": "t"}, columns={"input": "dialogue", "target": "summary"}),
        prompt=PromptTemplate(prompt=prompt, completion=" {summary}"),
        lora=LoraOptions(r=8, lora_alpha=16),
        training=TrainingOptions(max_steps=3),
        generation=GenerationOptions(max_new_tokens=5),
        seed=0,
    )
    trial = planned(config, letter="A", label=label)
    request = Request(
        sweep="s", run="main", spec_sha256="0" * 64, trials=(trial,),
        model=Source(kind="path", location=location, digest=DIGEST),
        data=Source(kind="path", location="/home/someone/rows", digest=DIGEST),
    )  # fmt: skip
    return model_card(
        request=request, trial=trial, fields=("dialogue",), frame=frame,
        generation={"max_new_tokens": 5, "eos_token_id": "1,2"},
        metrics={"test": {"rougeL": MetricValue(mean=0.5, n=2)}},
    )  # fmt: skip


def snippet(text: str) -> str:
    found = re.search(r"^(`{3,})python\n(.*?)^\1$", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[2]


@pytest.mark.parametrize(
    "prompt",
    [
        "Summarize.\n{dialogue}",
        "```\n{dialogue}\n```",
        "quotes \" and ' {dialogue}",
        "{{literal}} {dialogue}",
        "\\n {dialogue}",
    ],
)
def test_the_snippet_is_python_whatever_the_prompt_says(prompt: str) -> None:
    code = snippet(card(prompt))
    compile(code, "card", "exec")
    assert repr(prompt) in code


def test_no_local_path_is_published() -> None:
    text = card("{dialogue}")
    assert "/home/someone" not in text
    assert "BASE = 'base'" in text


def test_a_label_cannot_add_a_column_to_a_table() -> None:
    assert "x \\| y" in card("{dialogue}", label="x | y")


def test_a_chat_prompt_is_shown_with_the_frame_of_its_template() -> None:
    code = snippet(card("{dialogue}", frame=ChatFrame("<|im_start|>user\n", "<|im_end|>\n")))
    compile(code, "card", "exec")
    assert "'<|im_start|>user\\n' + PROMPT.format(**row).strip() + '<|im_end|>\\n'" in code
