"""Fuzzing of what reads texts of others: random and mutated input, for as long as one wants. Run by hand."""
