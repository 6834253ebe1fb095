"""What the registered networks are for, by the names that recipes have for it."""

TASKS = ("classification", "detection", "segmentation")
