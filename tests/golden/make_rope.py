"""Golden tables of rotary embeddings (rope.json): what transformers' PhiRotaryEmbedding makes of every kind of
`rope_parameters`, up to the original length. (Llama's ignores `partial_rotary_factor` where nothing is scaled.)

    python make_rope.py

Oracle: transformers 5.23 (modeling_rope_utils.py). Each case has the fields of RopeConfig, with the attention factor
that transformers has inferred, and cosines and sines at some positions, row after row.
"""
import json
import os

import torch
from transformers import PhiConfig
from transformers.models.phi.modeling_phi import PhiRotaryEmbedding

here = os.path.dirname(os.path.abspath(__file__))
POSITIONS = [0, 1, 2, 31, 255, 511]

YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 512}
LONG = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 512,
        "long_factor": [9.0 + i for i in range(8)]}
CASES = {
    "default": {"rope_type": "default", "rope_theta": 5000.0},
    "default_partial": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.4},
    "linear": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 3.0},
    "dynamic": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0},
    "llama3": {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 64},
    "yarn": YARN,
    "yarn_whole_range": {**YARN, "truncate": False},
    "yarn_betas": {**YARN, "beta_fast": 20.0, "beta_slow": 2.0, "rope_theta": 1000.0},
    "yarn_mscale": {**YARN, "mscale": 1.3, "mscale_all_dim": 0.7, "factor": 40.0},
    "yarn_attention_factor": {**YARN, "attention_factor": 0.9},
    "yarn_partial": {**YARN, "partial_rotary_factor": 0.5},
    "yarn_one_point": {**YARN, "original_max_position_embeddings": 4, "rope_theta": 1000000.0},
    "longrope": {**LONG, "short_factor": [1.0 + 0.125 * i for i in range(8)]},
    "longrope_factor": {**LONG, "short_factor": [1.5] * 8, "factor": 16.0},
    "longrope_attention_factor": {**LONG, "short_factor": [1.0] * 8, "attention_factor": 1.25},
    "longrope_partial": {**LONG, "partial_rotary_factor": 0.5, "long_factor": [4.0] * 4,
                         "short_factor": [1.0, 1.1, 1.2, 1.3]},
}


def case(name, parameters):
    rope = PhiRotaryEmbedding(PhiConfig(hidden_size=32, num_attention_heads=2, max_position_embeddings=2048,
                                        rope_parameters={"partial_rotary_factor": 1.0, **parameters}))
    cosines, sines = rope(torch.zeros(1), torch.tensor([POSITIONS]))
    half = cosines.shape[-1] // 2
    return {"name": name, "rope": parameters, "rotary_dim": 2 * half, "attention_factor": rope.attention_scaling,
            "positions": POSITIONS, "cosines": cosines[0, :, :half].flatten().tolist(),
            "sines": sines[0, :, :half].flatten().tolist()}


def write():
    rows = [case(name, parameters) for name, parameters in CASES.items()]
    with open(os.path.join(here, "rope.json"), "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


write()
