"""Device slots from what nvidia-smi and CUDA_VISIBLE_DEVICES say."""

from __future__ import annotations

import pytest

from controller.local.slots import Slot, find_slots, nvidia_devices, slots_of

TWO = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-11111111-1111-1111-1111-111111111111)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-22222222-2222-2222-2222-222222222222)
"""
SLICED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-11111111-1111-1111-1111-111111111111)
  MIG 1g.5gb      Device  0: (UUID: MIG-aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa)
  MIG 1g.5gb      Device  1: (UUID: MIG-bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-22222222-2222-2222-2222-222222222222)
"""
FIRST, SECOND = "GPU-11111111-1111-1111-1111-111111111111", "GPU-22222222-2222-2222-2222-222222222222"


@pytest.mark.parametrize(
    ("visible", "listing", "devices"),
    [
        (None, "", [None]),
        (None, TWO, [FIRST, SECOND]),
        ("", TWO, [None]),
        ("-1", TWO, [None]),
        ("1", TWO, ["1"]),
        ("1, 0", TWO, ["1", "0"]),
        ("0,-1,1", TWO, ["0"]),
        (FIRST, TWO, [FIRST]),
        ("0,1", "", [None]),
        (None, "NVIDIA-SMI has failed because it couldn't communicate with the driver", [None]),
    ],
)
def test_a_slot_per_visible_device_or_one_on_the_cpu(
    visible: str | None, listing: str, devices: list[str | None]
) -> None:
    assert [slot.device for slot in slots_of(visible, listing=lambda: listing)] == devices


def test_a_sliced_device_counts_by_its_slices() -> None:
    assert nvidia_devices(SLICED) == (
        "MIG-aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa",
        "MIG-bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb",
        SECOND,
    )


def test_a_person_who_hides_every_device_gets_the_cpu() -> None:
    assert find_slots({"CUDA_VISIBLE_DEVICES": ""}, gpus=1) == (Slot("cpu", None),)


def test_a_sweep_that_asks_for_no_gpu_hides_those_there_are() -> None:
    assert find_slots({"CUDA_VISIBLE_DEVICES": "0,1"}, gpus=0) == (Slot("cpu", ""),)
