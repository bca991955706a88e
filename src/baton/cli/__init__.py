"""Arguments and wiring only; no decisions."""
