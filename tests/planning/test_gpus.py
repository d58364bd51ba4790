from __future__ import annotations

import pytest

from genlab.errors import RecipeError
from genlab.planning import gpus


@pytest.mark.parametrize("kind", gpus.known())
def test_a_gpu_has_a_source_with_its_year_and_numbers_of_their_order(kind: str) -> None:
    gpu = gpus.find(kind)
    assert any(str(year) in gpu.source for year in range(2018, 2027))
    assert gpu.tensor is not None
    assert gpu.fp32 is not None
    assert gpu.bandwidth is not None
    assert gpu.fp32 < (gpu.tf32 or gpu.tensor) * 1.01 <= gpu.tensor * 1.01
    assert 14 <= gpu.memory <= 200
    assert gpu.link < gpu.bandwidth


def test_dense_figures_are_not_the_sparse_ones() -> None:
    sparse = {"h100": 1979, "a100-40": 624, "l40s": 733, "rtx4090": 330.4, "l4": 242}
    for kind, published in sparse.items():
        assert gpus.find(kind).tensor == pytest.approx(published / 2, rel=0.02)


def test_every_assumption_says_why() -> None:
    assert all(one.why and one.value > 0 for one in gpus.assumptions().values())
    assert gpus.assumed("utilisation") == 0.35


@pytest.mark.parametrize(
    ("kind", "near"), [("a100", "a100-40 or a100-80"), ("v100", "v100-16 or v100-32"),
                       ("rtx490", "rtx4090"), ("H100-PCI", "h100-pcie")],
)  # fmt: skip
def test_an_unknown_kind_is_refused_with_the_nearest(kind: str, near: str) -> None:
    with pytest.raises(RecipeError, match=near):
        gpus.find(kind)


def test_numbers_describe_any_other_gpu() -> None:
    own = gpus.chosen(None, memory=24, tflops=82)
    assert own.bytes == 24 * 10**9
    assert gpus.peak(own, "bf16-mixed", convolves=False).tflops == 82
    changed = gpus.chosen("a100-40", memory=38)
    assert (changed.memory, changed.tensor) == (38, 312)
    assert changed.source.endswith("--memory 38")


@pytest.mark.parametrize("given", [(None, 24.0, None), (None, None, 82.0), ("t4", -1.0, None)])
def test_too_few_or_wrong_numbers_are_refused(
    given: tuple[str | None, float | None, float | None],
) -> None:
    with pytest.raises(RecipeError, match=r"requires --(tflops|memory)|must be above 0"):
        gpus.chosen(*given)


def test_the_peak_is_that_of_the_precision() -> None:
    a100, v100 = gpus.find("A100-40"), gpus.find("v100-32")
    assert gpus.peak(a100, "bf16-mixed", convolves=True).tflops == 312
    assert gpus.peak(a100, "32-true", convolves=True).tflops == 156
    assert gpus.peak(a100, "32-true", convolves=False).tflops == 19.5
    assert gpus.peak(v100, "16-mixed", convolves=True).tflops == 125
    assert gpus.peak(v100, "32-true", convolves=True).tflops == 15.7
    emulated = gpus.peak(v100, "bf16-mixed", convolves=True)
    assert emulated.tflops == 15.7
    assert "no bf16 tensor cores" in emulated.note
    assert "trainer.precision=16-mixed" in emulated.note


@pytest.mark.parametrize(
    ("words", "kind"),
    [(["gpu:a100-80:4"], "a100-80"), (["v100_32&nvlink"], "v100-32"), (["gpu:a100:8"], "a100-40"),
     (["", "L40S"], "l40s"), (["skylake"], None), (["gpu:4"], None), ([], None)],
)  # fmt: skip
def test_options_of_a_job_name_a_gpu(words: list[str], kind: str | None) -> None:
    found = gpus.kind_in(words)
    assert (found and found.kind) == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [("nvidia_a100-sxm4-40gb", "a100-40"), ("nvidia_a100-sxm4-80gb", "a100-80"),
     ("nvidia_a100-pcie-40gb", "a100-40"), ("nvidia_a100_80gb_pcie", "a100-80-pcie"),
     ("nvidia_h100_80gb_hbm3", "h100"), ("nvidia_h100_pcie", "h100-pcie"), ("h100_nvl", None),
     ("nvidia_h200", "h200"), ("tesla_v100-sxm2-32gb", "v100-32"), ("tesla_t4", "t4"),
     ("tesla_v100-pcie-16gb", "v100-16"), ("nvidia_geforce_rtx_4090", "rtx4090"),
     ("nvidia_rtx_a6000", "a6000"), ("nvidia_l40s", "l40s"), ("a100_1g.5gb", None)],
)  # fmt: skip
def test_slurm_names_a_gpu_as_nvml_does(name: str, kind: str | None) -> None:
    found = gpus.kind_in([f"gpu:{name}:8"])
    assert (found and found.kind) == kind


def test_of_several_kinds_the_smallest_memory_counts() -> None:
    for words in (["l4|t4"], ["[t4|l4]"], ["a100-80|a100|h100"]):
        found = gpus.kind_in(words)
        assert found is not None
        assert found.kind == ("a100-40" if "a100" in words[0] else "t4")
