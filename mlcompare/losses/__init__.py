"""Every loss of the field under one contract, one file for each idea. Importing this package registers them all."""

from mlcompare.losses import (
    adacos,
    adaface,
    anti_collapse,
    arcface,
    ccl,
    center,
    circle,
    class_balanced,
    combined_margin,
    contrastive,
    cosface,
    cross_batch_memory,
    curricularface,
    decoupled_contrastive,
    deepvisage,
    distillation,
    dynamic_arcface,
    elasticface,
    focal,
    generalised_cross_entropy,
    heated_up,
    hierarchical,
    hyperbolic,
    kappaface,
    l2_softmax,
    l_softmax,
    ldam,
    lifted_structure,
    logit_adjusted,
    magface,
    margin_based,
    matryoshka,
    multi_similarity,
    multi_supcon,
    n_pair,
    noise_resistant,
    normface,
    nt_xent,
    p2sgrad,
    proxy,
    qcface,
    ranked_list,
    recall_at_k,
    ring,
    roadmap,
    selective_contrastive,
    semihard,
    sface,
    sigmoid_pair,
    small_loss,
    smooth_ap,
    soft_triple,
    softmax,
    sphereface,
    sphereface2,
    sphereface_r,
    subcenter_arcface,
    threshold_consistent,
    trihard,
    triplet,
    tuplet_margin,
    uniface,
    unitsface,
    up,
    vpl,
)
from mlcompare.losses.adacos import AdaCos
from mlcompare.losses.adaface import AdaFace
from mlcompare.losses.anti_collapse import AntiCollapseTerm
from mlcompare.losses.arcface import ArcFace
from mlcompare.losses.base import Loss
from mlcompare.losses.ccl import CCL
from mlcompare.losses.center import CenterTerm
from mlcompare.losses.circle import Circle
from mlcompare.losses.class_balanced import ClassBalancedSoftmax
from mlcompare.losses.combined_margin import CombinedMargin
from mlcompare.losses.compose import LossEntry, SumLoss, Term
from mlcompare.losses.contrastive import Contrastive
from mlcompare.losses.cosface import CosFace
from mlcompare.losses.cross_batch_memory import Memory
from mlcompare.losses.curricularface import CurricularFace
from mlcompare.losses.decoupled_contrastive import DecoupledContrastive
from mlcompare.losses.deepvisage import DeepVisage
from mlcompare.losses.distillation import Distillation
from mlcompare.losses.dynamic_arcface import DynamicArcFace
from mlcompare.losses.elasticface import ElasticArcFace, ElasticCosFace, ElasticHead
from mlcompare.losses.focal import Focal
from mlcompare.losses.generalised_cross_entropy import GeneralisedCrossEntropy
from mlcompare.losses.head import CosineHead, Head, MarginHead
from mlcompare.losses.heated_up import HeatedUpSoftmax
from mlcompare.losses.hierarchical import HierarchicalSupCon, HierarchicalTriplet
from mlcompare.losses.hyperbolic import Hyperbolic
from mlcompare.losses.kappaface import KappaFace
from mlcompare.losses.l2_softmax import L2Softmax
from mlcompare.losses.l_softmax import AnnealedHead, LSoftmax
from mlcompare.losses.ldam import LDAM
from mlcompare.losses.lifted_structure import GeneralizedLiftedStructure, LiftedStructure
from mlcompare.losses.logit_adjusted import LogitAdjustedSoftmax
from mlcompare.losses.magface import MagFace
from mlcompare.losses.margin_based import MarginBased
from mlcompare.losses.matryoshka import Matryoshka
from mlcompare.losses.multi_similarity import MultiSimilarity
from mlcompare.losses.multi_supcon import MultiSupCon
from mlcompare.losses.n_pair import NPair
from mlcompare.losses.noise_resistant import DispersionTerm, NoiseResistantSoftmax
from mlcompare.losses.normface import NormFace
from mlcompare.losses.nt_xent import NTXent, SupCon
from mlcompare.losses.p2sgrad import P2SGrad
from mlcompare.losses.pair import PairLoss, SampledLoss
from mlcompare.losses.pairing import AnchorLoss, Pairing
from mlcompare.losses.proxy import ProxyAnchor, ProxyNCA, ProxyNCAPlusPlus
from mlcompare.losses.qcface import QCFace
from mlcompare.losses.ranked_list import RankedList
from mlcompare.losses.recall_at_k import RecallAtK
from mlcompare.losses.ring import RingTerm
from mlcompare.losses.roadmap import Roadmap
from mlcompare.losses.selective_contrastive import SelectiveContrastiveTriplet
from mlcompare.losses.semihard import TripletSemiHard
from mlcompare.losses.sface import SFace
from mlcompare.losses.sigmoid_pair import SigmoidPair
from mlcompare.losses.small_loss import SmallLoss
from mlcompare.losses.smooth_ap import SmoothAP
from mlcompare.losses.soft_triple import SoftTriple
from mlcompare.losses.softmax import LinearHead, ModifiedSoftmax, Softmax
from mlcompare.losses.sphereface import SphereFace, SphereFaceFNorm
from mlcompare.losses.sphereface2 import SphereFace2
from mlcompare.losses.sphereface_r import SphereFaceR
from mlcompare.losses.subcenter_arcface import SubcenterArcFace, SubcenterArcFaceDrop
from mlcompare.losses.threshold_consistent import ThresholdConsistentTerm
from mlcompare.losses.trihard import TriHard
from mlcompare.losses.triplet import Triplet
from mlcompare.losses.tuplet_margin import TupletMargin
from mlcompare.losses.uniface import UniFace
from mlcompare.losses.unitsface import UniTSFace
from mlcompare.losses.up import UPTerm
from mlcompare.losses.vpl import VPL
from mlcompare.losses.wrapper import Wrapper

__all__ = [
    "CCL",
    "LDAM",
    "VPL",
    "AdaCos",
    "AdaFace",
    "AnchorLoss",
    "AnnealedHead",
    "AntiCollapseTerm",
    "ArcFace",
    "CenterTerm",
    "Circle",
    "ClassBalancedSoftmax",
    "CombinedMargin",
    "Contrastive",
    "CosFace",
    "CosineHead",
    "CurricularFace",
    "DecoupledContrastive",
    "DeepVisage",
    "DispersionTerm",
    "Distillation",
    "DynamicArcFace",
    "ElasticArcFace",
    "ElasticCosFace",
    "ElasticHead",
    "Focal",
    "GeneralisedCrossEntropy",
    "GeneralizedLiftedStructure",
    "Head",
    "HeatedUpSoftmax",
    "HierarchicalSupCon",
    "HierarchicalTriplet",
    "Hyperbolic",
    "KappaFace",
    "L2Softmax",
    "LSoftmax",
    "LiftedStructure",
    "LinearHead",
    "LogitAdjustedSoftmax",
    "Loss",
    "LossEntry",
    "MagFace",
    "MarginBased",
    "MarginHead",
    "Matryoshka",
    "Memory",
    "ModifiedSoftmax",
    "MultiSimilarity",
    "MultiSupCon",
    "NPair",
    "NTXent",
    "NoiseResistantSoftmax",
    "NormFace",
    "P2SGrad",
    "PairLoss",
    "Pairing",
    "ProxyAnchor",
    "ProxyNCA",
    "ProxyNCAPlusPlus",
    "QCFace",
    "RankedList",
    "RecallAtK",
    "RingTerm",
    "Roadmap",
    "SFace",
    "SampledLoss",
    "SelectiveContrastiveTriplet",
    "SigmoidPair",
    "SmallLoss",
    "SmoothAP",
    "SoftTriple",
    "Softmax",
    "SphereFace",
    "SphereFace2",
    "SphereFaceFNorm",
    "SphereFaceR",
    "SubcenterArcFace",
    "SubcenterArcFaceDrop",
    "SumLoss",
    "SupCon",
    "Term",
    "ThresholdConsistentTerm",
    "TriHard",
    "Triplet",
    "TripletSemiHard",
    "TupletMargin",
    "UPTerm",
    "UniFace",
    "UniTSFace",
    "Wrapper",
    "adacos",
    "adaface",
    "anti_collapse",
    "arcface",
    "ccl",
    "center",
    "circle",
    "class_balanced",
    "combined_margin",
    "contrastive",
    "cosface",
    "cross_batch_memory",
    "curricularface",
    "decoupled_contrastive",
    "deepvisage",
    "distillation",
    "dynamic_arcface",
    "elasticface",
    "focal",
    "generalised_cross_entropy",
    "heated_up",
    "hierarchical",
    "hyperbolic",
    "kappaface",
    "l2_softmax",
    "l_softmax",
    "ldam",
    "lifted_structure",
    "logit_adjusted",
    "magface",
    "margin_based",
    "matryoshka",
    "multi_similarity",
    "multi_supcon",
    "n_pair",
    "noise_resistant",
    "normface",
    "nt_xent",
    "p2sgrad",
    "proxy",
    "qcface",
    "ranked_list",
    "recall_at_k",
    "ring",
    "roadmap",
    "selective_contrastive",
    "semihard",
    "sface",
    "sigmoid_pair",
    "small_loss",
    "smooth_ap",
    "soft_triple",
    "softmax",
    "sphereface",
    "sphereface2",
    "sphereface_r",
    "subcenter_arcface",
    "threshold_consistent",
    "trihard",
    "triplet",
    "tuplet_margin",
    "uniface",
    "unitsface",
    "up",
    "vpl",
]
