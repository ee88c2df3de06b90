"""Cross-task knowledge distillation."""
