"""The benchmark: runs of `anyteacher fit` on a grid, their records, and what they say of claims."""
