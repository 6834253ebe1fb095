"""Batches of labelled images, as a training and its evaluations get them."""
from ghost_ms.data import loader
from ghost_ms.data.loader import Shard, TrainingBatches
from ghost_ms.tasks.classification.transforms import EvaluationTransforms, TrainingTransforms


def training_batches(dataset, config, preprocessing, epoch, shard=Shard(), skip=0):
    return TrainingBatches(dataset, config, TrainingTransforms(config, dataset, preprocessing), epoch, shard, skip)


def evaluation_batches(dataset, config, preprocessing, shard=Shard()):
    return loader.evaluation_batches(dataset, config, EvaluationTransforms(dataset, preprocessing), shard)
