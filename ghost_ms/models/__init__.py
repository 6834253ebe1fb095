"""Networks: cards and constructors by name; a module of `backbones` is registered by being there."""
import importlib
import pkgutil

from ghost_ms.models import backbones, detectors, segmenters  # noqa: F401
from ghost_ms.models.backbone import Backbone, FeatureInfo
from ghost_ms.models.registry import ModelCard, build_model, list_models, model_card, register

for _module in pkgutil.iter_modules(backbones.__path__):
    importlib.import_module(f"{backbones.__name__}.{_module.name}")

__all__ = ["Backbone", "FeatureInfo", "ModelCard", "build_model", "list_models", "model_card", "register"]
