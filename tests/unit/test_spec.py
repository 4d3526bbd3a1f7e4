"""Every mistake in a spec is named with its place, its value, the rule and the remedy, all of them at once."""

from __future__ import annotations

import dataclasses

import pytest
from specs import HEAD, load, varied

from controller.spec.aliases import field_called
from controller.spec.model import LoraSection, SweepSpec, TrainingSection
from controller.spec.training_arguments import EXECUTION_ARGUMENTS, REFUSED_ARGUMENTS
from controller.spec.varied import VARIED_PATHS
from controller.spec.warnings import warnings_of
from job.contract.config import LoraOptions, TrainingOptions
from job.contract.errors import SpecError

GRID = "grid: {prompt: [v1], lora.r: [8]}"


def mistakes(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        load(text)
    return str(caught.value)


def test_the_smallest_spec_takes_its_defaults_from_the_contract() -> None:
    spec = varied(GRID).spec
    assert spec.trial.training.learning_rate == 5e-5
    assert spec.trial.generation.max_new_tokens == 64
    assert spec.vary.seeds == (0,)
    assert spec.execution.trial_timeout_s == 3600
    assert spec.regression is None


NAMES = ["../../x", "/etc", "A_B", "-a", "a-", "a" * 41, "\uff41", "\u0430bc", "a\n", "", "a.b", "a b", "a/b", "$(x)"]


@pytest.mark.parametrize("name", NAMES)
def test_a_sweep_name_that_is_no_dns_label_is_refused(name: str) -> None:
    quoted = '"' + name.replace("\n", "\\n") + '"'
    assert "DNS-1123" in mistakes(HEAD.replace("name: small", f"name: {quoted}"))


def test_a_sweep_name_of_forty_characters_is_fine() -> None:
    load(HEAD.replace("name: small", f"name: {'a' * 40}") + f"vary: {{{GRID}}}\n")


@pytest.mark.parametrize("address", ["s3://", "s3:/bucket", "s3:bucket", "gs://bucket/x", "file:///x", ""])
@pytest.mark.parametrize(
    ("field", "sound", "line"),
    [("model.id", "{id: model}", "{id: %r}"), ("data.source", "{source: rows,", "{source: %r,")],
)
def test_a_source_that_is_no_address_is_refused(field: str, sound: str, line: str, address: str) -> None:
    said = mistakes(HEAD.replace(sound, line % address) + f"vary: {{{GRID}}}\n")
    assert f"{field}: {address!r}: " in said
    assert "write " in said


@pytest.mark.parametrize("root", ["s3://", "s3:/bucket", "s3:bucket", "S3://bucket", "gs://bucket", "file:///x", " "])
def test_a_store_that_is_no_address_is_refused_before_anything_trains(root: str) -> None:
    said = mistakes(HEAD + f"vary: {{{GRID}}}\nstore: {{root: {root!r}}}\n")
    assert said.startswith(f"sweep.yaml:12:9: store.root: {root!r}: ")
    assert "s3://bucket/prefix" in said


# What a person wrote, and what has to be in the answer.
MISTAKES = {
    "a field by its name in papers": (
        "lr: 1e-4\n",
        ["did you mean `learning_rate`", "at `trial.training.learning_rate`"],
    ),
    "a field by another name, where it belongs": (
        "trial: {lora: {rank: 8, dropout: 0.1}, training: {lr: 1e-4, batch_size: 8, epochs: 1}}\n",
        ["`r`?", "`lora_dropout`?", "`learning_rate`?", "`per_device_train_batch_size`?", "`num_train_epochs`?"],
    ),
    "a path by another name": (
        "vary: {grid: {lr: [1e-4], lora.rank: [8], training.bs: [8]}}\n",
        ["`training.learning_rate`?", "`lora.r`?", "`training.per_device_train_batch_size`?"],
    ),
    "a dotted key under trial": (
        "trial: {lora.r: 2}\n",
        ["trial.lora.r: unknown key; dots join keys under `vary` alone: write `lora: {r: ...}` under `trial`"],
    ),
    "a dotted key at the top": ("data.source: rows\n", ["write `data: {source: ...}`"]),
    "a varied path one level up": ("vary: {lora.r: [8]}\n", ["write `grid: {lora.r: [...]}`"]),
    "a field to vary without its section": (
        "vary: {learning_rate: [1]}\n",
        ["`grid: {training.learning_rate: [...]}`"],
    ),
    "a number for a section": (
        "trial: {lora: 8}\n",
        ["must be a mapping of `key: value` lines, such as `lora: {r: ...}`"],
    ),
    "values to vary under trial": ("trial: {lora: {r: [8, 16]}}\n", ["list them as `lora.r` under `vary.grid`"]),
    "a share in per cent": (
        "trial: {lora: {lora_dropout: 10}}\n",
        ["10: must be", "1; it is a share, so 0.1 stands for 10 %"],
    ),
    "dropout of everything": ("trial: {lora: {lora_dropout: 1}}\n", ["1: must be below 1"]),
    "warm-up as a share": ("trial: {training: {warmup_steps: 0.1}}\n", ["it is no share of them"]),
    "a number beyond all bounds": ("data: {limits: {train: 1e30}}\n", ["1e+30: must be a smaller number"]),
    "a rank wider than any layer": ("vary: {grid: {prompt: [v1], lora.r: [4097]}}\n", ["4097: must be at most 4,096"]),
    "steps for years": ("trial: {training: {max_steps: 2000000000}}\n", ["must be at most 10,000,000"]),
    "a text shorter than allowed": (
        f"vary: {{{GRID[:-1]}, generation.min_new_tokens: [65]}}}}\n",
        ["generation.min_new_tokens 65 is above max_new_tokens 64; lower the one or raise the other"],
    ),
    "misspelled top key": ("modle: x\n", ["sweep.yaml:11:1: modle: unknown key; did you mean `model`?"]),
    "key in the wrong place": ("learning_rate: 1\n", ["learning_rate", "belongs at `trial.training.learning_rate`"]),
    "text for a number": (
        'vary: {grid: {prompt: [v1], lora.r: ["8"]}}\n',
        ["vary.grid.lora.r[0]: '8': must be a number, got text"],
    ),
    "true for a number": ("vary: {grid: {prompt: [v1], lora.r: [true]}}\n", ["true: must be a number, got a boolean"]),
    "true for a rate": (
        "vary: {grid: {prompt: [v1], lora.r: [8], training.learning_rate: [true]}}\n",
        ["must be a number, got a boolean"],
    ),
    "half a rank": ("vary: {grid: {prompt: [v1], lora.r: [8.5]}}\n", ["8.5: must be a whole number"]),
    "rank zero": ("vary: {grid: {prompt: [v1], lora.r: [0]}}\n", ["0: must be at least 1"]),
    "infinite rate": ("vary: {grid: {prompt: [v1], lora.r: [8], training.learning_rate: [.inf]}}\n", ["finite number"]),
    "NaN rate": ("vary: {grid: {prompt: [v1], lora.r: [8], training.learning_rate: [.nan]}}\n", ["finite number"]),
    "no for a flag": ("model: {load_in_4bit: no}\n", ["'no': must be true or false"]),
    "misspelled choice": ("model: {id: x, dtype: bfloat}\n", ["'bfloat'", "did you mean `bfloat16`?"]),
    "misspelled path": (
        "vary: {grid: {prompt: [v1], lora.rr: [8]}}\n",
        ["vary.grid.lora.rr", "did you mean `lora.r`?"],
    ),
    "path without its section": ("vary: {grid: {learning_rate: [1e-4]}}\n", ["did you mean `training.learning_rate`?"]),
    "section instead of path": (
        "vary: {grid: {lora: {r: [8]}}}\n",
        ["write each field of it as one key, such as `lora.r`"],
    ),
    "execution varied": ("vary: {grid: {execution.gpus: [1, 2]}}\n", ["not part of a trial's identity"]),
    "checkpointing varied": (
        "vary: {grid: {training.gradient_checkpointing: [true]}}\n",
        ["not part of a trial's identity", "trial.training.gradient_checkpointing"],
    ),
    "seed varied": ("vary: {grid: {seed: [1, 2]}}\n", ["vary.seeds"]),
    "model varied": ("vary: {grid: {model.id: [a, b]}}\n", ["one base model"]),
    "metrics varied": ("vary: {grid: {evaluation.metrics: [[rouge]]}}\n", ["scored in the same way"]),
    "refused argument varied": ("vary: {grid: {training.push_to_hub: [true]}}\n", ["cannot be varied"]),
    "prompt that is not there": ("vary: {grid: {prompt: [v3], lora.r: [8]}}\n", ["'v3'", "v1, v2"]),
    "empty axis": ("vary: {grid: {prompt: [v1], lora.r: []}}\n", ["must not be empty"]),
    "scalar axis": ("vary: {grid: {prompt: [v1], lora.r: 8}}\n", ["vary.grid.lora.r: 8"]),
    "pairs of unequal length": (
        "vary: {paired: [{lora.r: [8, 16], training.warmup_steps: [1]}]}\n",
        ["lora.r has 2, training.warmup_steps has 1"],
    ),
    "varied twice": (
        "vary: {grid: {lora.r: [8]}, paired: [{lora.r: [8]}]}\n",
        ["vary.paired[0].lora.r", "already varied by vary.grid.lora.r"],
    ),
    "listed trial that leaves out a path": (
        "vary: {grid: {prompt: [v1], lora.r: [8]}, trials: [{prompt: v2}]}\n",
        ["leaves out lora.r"],
    ),
    "range of text": (
        "vary: {random: {n: 2, ranges: {lora.bias: {low: 1, high: 2}}}}\n",
        ["a range needs a field of numbers"],
    ),
    "range with fractional ends": ("vary: {random: {n: 2, ranges: {lora.r: {low: 1.5, high: 8}}}}\n", ["whole ends"]),
    "range upside down": (
        "vary: {random: {n: 2, ranges: {lora.r: {low: 8, high: 4}}}}\n",
        ["low 8 has to be below high 4"],
    ),
    "logarithm of zero": (
        "vary: {random: {n: 2, ranges: {training.weight_decay: {low: 0, high: 1, log: true}}}}\n",
        ["above 0"],
    ),
    "seed twice": (f"vary: {{{GRID}, seeds: [0, 0]}}\n", ["vary.seeds[1]", "listed twice"]),
    "no seed": (f"vary: {{{GRID}, seeds: []}}\n", ["must not be empty"]),
    "unknown baseline": (f"vary: {{{GRID}, baselines: [zeroshot]}}\n", ["`zero-shot`, or `lead-1` to `lead-99`"]),
    "lead of nothing": (f"vary: {{{GRID}, baselines: [lead-0]}}\n", ["lead-1"]),
    "unknown metric": (f"vary: {{{GRID}}}\nobjective: {{metric: rougel}}\n", ["'rougel': must be one of", "rougeL"]),
    "objective that describes": (f"vary: {{{GRID}}}\nobjective: {{metric: generated_tokens}}\n", ["must be one of"]),
    "wrong direction": (f"vary: {{{GRID}}}\nobjective: {{direction: minimize}}\n", ["rougeL is to maximize"]),
    "limit without split": (f"vary: {{{GRID}}}\ndata: {{limits: {{dev: 3}}}}\n", ["data.limits.dev"]),
    "floor of no metric": (f"vary: {{{GRID}}}\nregression: {{floors: {{bleu: 0.1}}}}\n", ["regression.floors.bleu"]),
    "no rank": ("vary: {grid: {prompt: [v1]}}\n", ["trial.lora.r is missing"]),
    "no prompt chosen": ("vary: {grid: {lora.r: [8]}}\n", ["2 prompts and none chosen"]),
    "two lengths": (
        f"vary: {{{GRID[:-1]}, training.num_train_epochs: [2]}}}}\n",
        ["exactly one of max_steps and num_train_epochs"],
    ),
    "two alphas": (f"vary: {{{GRID[:-1]}, lora.lora_alpha: [16]}}}}\n", ["alpha_ratio: 2 and lora_alpha: 16"]),
    "two precisions": (
        f"vary: {{{GRID[:-1]}, training.bf16: [true], training.fp16: [true]}}}}\n",
        ["bf16 and fp16 exclude each other"],
    ),
    "operator's business": (f"vary: {{{GRID}}}\nexecution: {{image: x}}\n", ["operator"]),
    "code from the spec": ("model: {id: x, trust_remote_code: true}\n", ["code named by a spec never runs"]),
    "reserved task": ("task: dpo\n", ["task: 'dpo': reserved"]),
    "reserved streaming": ("data: {streaming: true}\n", ["data.streaming: true: reserved"]),
    "reserved packing": ("trial: {training: {packing: true}}\n", ["trial.training.packing: true: reserved"]),
    "reserved early stop": ("execution: {early_stop: {patience: 3}}\n", ["execution.early_stop", "reserved"]),
    "reserved devices": ("execution: {devices_per_trial: 2}\n", ["execution.devices_per_trial: 2: reserved"]),
    "trials of a Job": (
        "execution: {trials_per_job: many}\n",
        ["execution.trials_per_job: 'many': must be a number, got text or 'auto'"],
    ),
    "no trial of a Job": ("execution: {trials_per_job: 0}\n", ["trials_per_job: 0: must be at least 1 or 'auto'"]),
    "reserved backend": ("trial: {evaluation: {backend: vllm}}\n", ["trial.evaluation.backend: 'vllm': reserved"]),
    "reserved adapters": ("store: {keep_adapters: best}\n", ["store.keep_adapters: 'best': reserved"]),
    "newer version": ("version: 2\n", ["version: 2: must be 1"]),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_named_with_its_remedy(case: str) -> None:
    text, words = MISTAKES[case]
    head = HEAD
    for line in text.splitlines():
        key = line.split(":")[0]
        head = "".join(kept for kept in _sections(head) if not kept.startswith(f"{key}:"))
    message = mistakes(head + text)
    for word in words:
        assert word in message


def _sections(text: str) -> list[str]:
    """The text, cut before each line that is not indented."""
    found: list[str] = []
    for line in text.splitlines(keepends=True):
        if line.startswith(" ") and found:
            found[-1] += line
        else:
            found.append(line)
    return found


def test_every_missing_key_is_a_mistake_of_its_own() -> None:
    lines = mistakes("version: 1\nname: small\ndata: {source: rows}\n").splitlines()
    assert lines == [
        "sweep.yaml has 5 mistakes",
        "sweep.yaml:1:1: spec: `model` is missing; write it",
        "sweep.yaml:1:1: spec: `prompts` is missing; write it",
        "sweep.yaml:1:1: spec: `trial` is missing; write it",
        "sweep.yaml:3:1: data: `splits` is missing; write it under `data`",
        "sweep.yaml:3:1: data: `columns` is missing; write it under `data`",
    ]


def test_a_list_of_faulty_values_is_not_called_empty_as_well() -> None:
    said = mistakes(HEAD + f"vary: {{{GRID}, seeds: [0.5]}}\n")
    assert said == "sweep.yaml:11:51: vary.seeds[0]: 0.5: must be a whole number"


def test_the_baseline_is_asked_with_what_trial_says_and_has_to_fit_by_itself() -> None:
    text = HEAD + "  generation: {min_new_tokens: 80}\n"
    vary = f"vary: {{{GRID[:-1]}, generation.max_new_tokens: [100]}}"
    assert "the zero-shot baseline: generation.min_new_tokens 80 is above" in mistakes(text + vary + "}\n")
    load(text + vary + ", baselines: []}\n")


def test_the_usual_names_are_of_fields_that_there_are() -> None:
    fields = {path.rpartition(".")[2] for path in VARIED_PATHS}
    assert field_called("LR", fields) == "learning_rate"
    assert field_called("batch-size", fields) == "per_device_train_batch_size"
    assert field_called("learning_rate", fields) is None


def test_a_path_that_is_set_and_varied_is_refused() -> None:
    text = HEAD.replace("{max_steps: 4}", "{max_steps: 4, learning_rate: 1e-4}")
    vary = "vary: {grid: {prompt: [v1], lora.r: [8], training.learning_rate: [5e-4]}}\n"
    assert "is varied here and set to 0.0001 in trial.training.learning_rate" in mistakes(text + vary)


def test_templates_are_checked_where_they_stand() -> None:
    text = HEAD.replace('completion: " {summary}"}\n  v2', 'completion: " {sumary}"}\n  v2')
    text = text.replace("Be brief.\\n{dialogue}\\n", "{summary} {dialogue.x}")
    message = mistakes(text + f"vary: {{{GRID}}}\n")
    assert "prompts.v1.completion: does not name the target column {summary}" in message
    assert "prompts.v2.prompt" in message
    assert "'{dialogue.x}'" in message
    text = HEAD.replace("Be brief.\\n{dialogue}\\n", "{dialogue} {summary}")
    assert "shows the target column {summary}" in mistakes(text + f"vary: {{{GRID}}}\n")


def test_a_scored_split_has_to_exist() -> None:
    message = mistakes(HEAD.replace(", test: c", "") + f"vary: {{{GRID}}}\n")
    assert "set final_splits: [validation]" in message


def test_trained_rows_are_not_scored() -> None:
    assert "share a file" in mistakes(HEAD.replace("test: c", "test: a") + f"vary: {{{GRID}}}\n")


def test_all_mistakes_of_a_file_come_at_once_in_its_order() -> None:
    text = HEAD.replace("name: small", "name: Not_Small").replace("max_steps: 4", "max_steps: four, seed: 1")
    message = mistakes(text + "vary: {grid: {prompt: [v9], lora.rr: [8]}, seed: [1]}\nexecution: {gpu: 1}\n")
    lines = message.splitlines()
    assert lines[0] == "sweep.yaml has 7 mistakes"
    fields = [line.split(": ")[1] for line in lines[1:]]
    assert fields == [
        "name",
        "trial.training.max_steps",
        "trial.training.seed",
        "vary.grid.prompt[0]",
        "vary.grid.lora.rr",
        "vary.seed",
        "execution.gpu",
    ]


def test_a_grid_of_ten_to_the_twelve_is_refused_from_its_count() -> None:
    values = ", ".join(str(number) for number in range(1, 1001))
    paths = ["lora.r", "training.warmup_steps", "training.per_device_train_batch_size", "generation.top_k"]
    grid = "".join(f"    {path}: [{values}]\n" for path in paths)
    message = mistakes(HEAD + "vary:\n  grid:\n    prompt: [v1]\n" + grid)
    assert "asks for 1,000,000,000,001 trials; at most 100,000" in message


def test_numbers_keep_their_meaning() -> None:
    spec = varied("grid: {prompt: [v1], lora.r: [8.0], training.learning_rate: [1, 1e-4]}").spec
    assert spec.vary.grid["lora.r"].values == (8.0,)
    assert spec.vary.grid["training.learning_rate"].values == (1, 1e-4)


def test_an_axis_may_say_why() -> None:
    axis = varied("grid: {prompt: [v1], lora.r: {values: [8, 16], why: Does rank matter?}}").spec.vary.grid["lora.r"]
    assert (axis.values, axis.why) == ((8, 16), "Does rank matter?")


def test_a_fixed_alpha_over_several_ranks_is_warned_about() -> None:
    text = HEAD.replace("alpha_ratio: 2", "lora_alpha: 16")
    fixed = load(text + "vary: {grid: {prompt: [v1, v2], lora.r: [8, 16]}}\n").spec
    assert "lora_alpha is fixed at 16 while lora.r takes 8, 16" in warnings_of(fixed)[0]
    assert not warnings_of(load(text + "vary: {grid: {prompt: [v1, v2], lora.r: [8]}}\n").spec)
    assert not warnings_of(varied("grid: {prompt: [v1, v2], lora.r: [8, 16]}").spec)


def test_an_unused_prompt_is_warned_about() -> None:
    assert warnings_of(varied(GRID).spec) == ("no trial uses the prompt v2",)


def test_template_syntax_in_values_stays_text() -> None:
    text = HEAD.replace("version: 1", 'version: 1\ndescription: "{{7*7}} {% x %} $(SECRET)"')
    assert load(text + f"vary: {{{GRID}}}\n").spec.description == "{{7*7}} {% x %} $(SECRET)"


def test_sections_have_the_fields_and_defaults_of_the_contract() -> None:
    for section, options in ((LoraSection, LoraOptions), (TrainingSection, TrainingOptions)):
        for name, field in options.model_fields.items():
            if name not in ("r", "lora_alpha"):
                assert section.model_fields[name].default == field.default, name
    extra = set(TrainingSection.model_fields) - set(TrainingOptions.model_fields)
    assert extra == EXECUTION_ARGUMENTS | {"packing"}
    assert set(LoraSection.model_fields) - set(LoraOptions.model_fields) == {"alpha_ratio"}


def test_every_training_argument_of_transformers_is_in_the_closed_list() -> None:
    from transformers import TrainingArguments  # heavy

    known = set(TrainingSection.model_fields) | set(REFUSED_ARGUMENTS)
    assert {field.name for field in dataclasses.fields(TrainingArguments)} - known == set()
    assert not set(TrainingSection.model_fields) & set(REFUSED_ARGUMENTS)


def test_no_path_that_can_be_varied_is_execution() -> None:
    assert not {path.split(".")[-1] for path in VARIED_PATHS} & EXECUTION_ARGUMENTS


def test_a_spec_is_immutable() -> None:
    spec: SweepSpec = varied(GRID).spec
    with pytest.raises(ValueError, match="frozen"):
        spec.name = "other"  # type: ignore[misc]  # the assignment is what is tested
