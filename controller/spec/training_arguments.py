"""transformers' TrainingArguments sorted into three: what decides the weights, how the work is done, what is refused.

The names are those of transformers 5.23. A name in no list is a misspelling, or a field that came later.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["EXECUTION_ARGUMENTS", "REFUSED_ARGUMENTS", "REFUSED_ELSEWHERE"]

EXECUTION_ARGUMENTS = frozenset({"gradient_checkpointing", "dataloader_num_workers", "logging_steps"})
"""Fields of `trial.training` that change no result, so they are no part of an identity and cannot be varied."""

_PUBLISHING = "the job publishes to the sweep's store alone; push an adapter from there"
_LOGGING = "every step is recorded in metrics.jsonl and TensorBoard files in the store; progress has its own file"
_PLACES = "the job chooses its folders; what is kept lies in the store"
_SAVING = (
    "checkpoints follow execution.checkpoint_every, resume takes the newest that verifies, the last adapter counts"
)
_EVALUATION = (
    "every trial is evaluated by the same rules; set eval_steps, trial.evaluation and execution.eval_batch_size"
)
_SHARDING = "one device trains one trial; run more trials at a time with execution.parallelism"
_SEED = "vary.seeds gives each trial its seed, data.seed picks the rows"
_DTYPE = "set model.dtype for the weights, training.bf16 or training.fp16 for autocast"
_SPEED = "it changes sums in ways that differ between devices, so equal ids would not mean equal numbers"
_LOSS = "the loss is the completion's cross-entropy, the same in every trial and both engines"
_BATCHES = "rows and their order come from data.seed and the trial's seed, the same in both engines"
_DEBUG = "a tool for working on the trainer, not on a sweep"
_OPTIMIZER = "adamw_torch is the one optimizer that both engines compute alike"


def _because(reason: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), reason)


REFUSED_ARGUMENTS: Mapping[str, str] = MappingProxyType(
    {
        **_because(
            _PUBLISHING,
            "push_to_hub hub_token hub_private_repo hub_model_id hub_strategy hub_always_push hub_revision",
        ),
        **_because(
            _LOGGING,
            "report_to run_name project trackio_space_id trackio_bucket_id trackio_static_space_id log_level"
            " log_level_replica log_on_each_node logging_strategy logging_first_step logging_dir disable_tqdm"
            " include_num_input_tokens_seen",
        ),
        "logging_nan_inf_filter": "a NaN or infinite loss ends the trial as diverged instead of being hidden",
        **_because(_PLACES, "output_dir overwrite_output_dir"),
        **_because(
            _SAVING,
            "save_strategy save_steps save_on_each_node save_total_limit save_only_model save_safetensors"
            " enable_jit_checkpoint load_best_model_at_end metric_for_best_model greater_is_better"
            " resume_from_checkpoint restore_callback_states_from_checkpoint ignore_data_skip",
        ),
        **_because(
            _EVALUATION,
            "do_train do_eval do_predict eval_strategy evaluation_strategy eval_delay eval_on_start"
            " eval_accumulation_steps eval_do_concat_batches eval_use_gather_object batch_eval_metrics"
            " prediction_loss_only include_for_metrics label_names bf16_full_eval fp16_full_eval"
            " predict_with_generate",
        ),
        "per_device_eval_batch_size": "set execution.eval_batch_size: it changes no number that is compared",
        **_because(
            _SHARDING,
            "deepspeed fsdp fsdp_config parallelism_config accelerator_config local_rank ddp_backend ddp_timeout"
            " ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph tpu_num_cores"
            " average_tokens_across_devices",
        ),
        **_because(_SEED, "seed data_seed"),
        "full_determinism": "on the CPU a trial is repeatable as it is; on a GPU this would promise more than it keeps",
        "use_cpu": "the job takes the device it finds; set execution.gpus: 0 for the CPU",
        **_because(_DTYPE, "tf32 half_precision_backend"),
        **_because(
            _SPEED,
            "torch_compile torch_compile_backend torch_compile_mode use_liger_kernel liger_kernel_config"
            " torch_empty_cache_steps auto_find_batch_size use_cache",
        ),
        **_because(_LOSS, "label_smoothing_factor neftune_noise_alpha completion_only_loss assistant_only_loss"),
        **_because(
            _BATCHES,
            "dataloader_drop_last dataloader_pin_memory dataloader_persistent_workers dataloader_prefetch_factor"
            " dataloader_multiprocessing_context dataloader_in_order remove_unused_columns train_sampling_strategy"
            " group_by_length length_column_name max_length max_seq_length",
        ),
        **_because(_OPTIMIZER, "optim_args optim_target_modules adafactor"),
        "lr_scheduler_kwargs": "the schedules take their defaults; vary lr_scheduler_type, warmup_steps or the rate",
        "warmup_ratio": "transformers 5 counts warm-up in steps; set warmup_steps",
        **_because(
            "set gradient_checkpointing to true or false; the job picks the kind",
            "gradient_checkpointing_kwargs activation_checkpointing activation_checkpointing_kwargs",
        ),
        **_because(_DEBUG, "debug skip_memory_metrics"),
    }
)
"""Name to the reason, which is also the remedy."""

_CODE = "code named by a spec never runs"
_OPERATOR = "what the cluster grants is the operator's: chart values or --cluster FILE"

REFUSED_ELSEWHERE: Mapping[tuple[str, ...], str] = MappingProxyType(
    {
        ("model", "trust_remote_code"): _CODE,
        ("data", "trust_remote_code"): _CODE,
        ("model", "torch_dtype"): "write model.dtype",
        ("model", "load_in_8bit"): "4-bit weights (load_in_4bit) are the one quantisation supported",
        ("trial", "seed"): _SEED,
        ("seed",): _SEED,
        ("trial", "lora", "task_type"): "the task is causal language modelling",
        ("trial", "lora", "lora_bias"): "set bias",
        ("execution", "image"): _OPERATOR,
        ("execution", "namespace"): _OPERATOR,
        ("execution", "service_account"): _OPERATOR,
        ("execution", "node_selector"): _OPERATOR,
        ("execution", "tolerations"): _OPERATOR,
        ("execution", "volumes"): _OPERATOR,
        ("execution", "env"): _OPERATOR,
        ("execution", "pod_template"): _OPERATOR,
    }
)
"""Names outside `trial.training` that people try, and why they are not there."""
