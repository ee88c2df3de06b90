"""The rows of the contract tables: what each loss is, a file a family."""
