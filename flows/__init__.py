"""How each task type works: one file a task type."""
