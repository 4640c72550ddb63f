"""Numbers that stand once and that models and searches use as well."""

SEED = 20170301
# The least fidelity of an adaptive recipe where answers mean nothing: random weights, outputs that are no scores.
RANDOM_SQNR_DB = 20.0
