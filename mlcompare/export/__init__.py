"""Winners for use: a model folder from a store, and embeddings from a model folder."""

from mlcompare.export.embed import embed_file, load_model
from mlcompare.export.matches import find_neighbours, verify_pair
from mlcompare.export.model_folder import Exported, export_model

__all__ = ["Exported", "embed_file", "export_model", "find_neighbours", "load_model", "verify_pair"]
