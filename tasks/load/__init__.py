"""Opening the subject of an audit: data, model, and what makes one fit the other.

Nothing here imports TensorFlow until a model is opened.
"""

from tasks.load.backend import tensorflow
from tasks.load.encoding import Encoder, Feature
from tasks.load.fitting import Refusal, feature_kinds, feature_names, nulls_accepted, refusals
from tasks.load.images import image_size, images
from tasks.load.inputs import INPUTS, input_digest, inputs_cover_all
from tasks.load.models import LoadedModel, Located, load_model, locate_model, open_model
from tasks.load.pins import Pins, pinned
from tasks.load.predictor import Predictor
from tasks.load.randomised import randomised
from tasks.load.spill import forget, pieces, taken
from tasks.load.subject import Subject, open_subject
from tasks.load.tables import Dataset, load_data, open_data
from tasks.load.targets import class_index, class_names, target_codes, target_numbers
from tasks.load.trust import trusted_modules, trusted_object

__all__ = [
    "INPUTS",
    "Dataset",
    "Encoder",
    "Feature",
    "LoadedModel",
    "Located",
    "Pins",
    "Predictor",
    "Refusal",
    "Subject",
    "class_index",
    "class_names",
    "feature_kinds",
    "feature_names",
    "forget",
    "image_size",
    "images",
    "input_digest",
    "inputs_cover_all",
    "load_data",
    "load_model",
    "locate_model",
    "nulls_accepted",
    "open_data",
    "open_model",
    "open_subject",
    "pieces",
    "pinned",
    "randomised",
    "refusals",
    "taken",
    "target_codes",
    "target_numbers",
    "tensorflow",
    "trusted_modules",
    "trusted_object",
]
