"""Every backbone family; a module of this package is imported, and so registered, by being here."""
import importlib
import pkgutil

from ghost_ms.models.backbone import Backbone, FeatureInfo
from ghost_ms.models.registry import ModelCard, create_model, list_models, model_card, register

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Backbone", "FeatureInfo", "ModelCard", "create_model", "list_models", "model_card", "register"]
