"""ghost_ms: the efficient backbones of Huawei Noah's Ark Lab for MindSpore.

Importing the package is quick and silent: MindSpore itself is loaded on the first use of a model.
"""
from ghost_ms.core import import_order

__version__ = "0.1.0"
__all__ = ["create_detector", "create_model", "create_segmenter", "list_models", "load", "model_card"]

import_order.guard()


def __getattr__(name):
    if name == "load":
        from ghost_ms.tasks.predict import load

        return load
    if name in __all__:
        from ghost_ms import factory, models

        return getattr(factory if name.startswith("create_") else models, name)
    raise AttributeError(f"module 'ghost_ms' has no attribute '{name}'")
