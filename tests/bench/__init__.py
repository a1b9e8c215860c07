"""Benchmarks: ratios against something that runs beside mpathd in the same run. They print and judge nothing."""
