"""What the benchmarks with processes of their own write is what `make bench` reads."""

from bench import __main__ as bench
from bench.networks import Case, measure, products


def test_networks_give_a_row_and_in_bf16_one_against_float32():
    cases = [Case("agcn-small", "inference", precision, 1, 9, 11) for precision in ("fp32", "bf16")]
    rows = bench.network_rows({"rows": [vars(case) | measure(case, 1, "cpu") for case in cases]})
    assert [row.what.split(": ")[1] for row in rows] == [
        "ours → reference",
        "ours → reference",
        "ours → reference in fp32",
    ]
    assert all(row.low <= row.ratio <= row.high for row in rows)
    assert rows[2].cells()[0] == "networks"


def test_products_are_counted_in_both_precisions():
    assert all(rate > 0 for rate in products("cpu", 64).values())


def test_memory_and_table_1():
    memory = {"rows": [{"workers": 2, "mapped_mib": 10.0, "each_mib": 20.0}]}
    assert bench.memory_rows(memory)[0].cells()[2:6] == ["10", "20", "MiB", "2.00"]

    def way(name, seconds):
        return {"way": name, "trainings": 12, "seconds": seconds, "ratio": seconds, "ratios": [seconds]}

    rows = bench.table_rows({"rows": [way("ours", 1.0), way("bare loop", 3.0)]})
    assert [row.cells()[2:] for row in rows] == [["1", "3", "s", "3.00", "3.00–3.00"]]
