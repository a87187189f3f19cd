"""Writes tests/golden/dialects: small layers as other programs store them, each with the weight that the program's own
library decodes (<name>.truth.safetensors, float32). Needs bitsandbytes, optimum-quanto, torchao, compressed-tensors,
sdnq, hqq and transformers; names of cases on the command line choose among them.

    python3 tools/make_dialect_files.py [case ...]
"""
import os
import sys
import warnings

import torch
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
FOLDER = os.path.join(os.path.dirname(__file__), "..", "tests", "golden", "dialects")
LAYER = "blk.0.q"
ROWS, COLUMNS = 32, 128


def weight(rows=ROWS, columns=COLUMNS, dtype=torch.float32):
    generator = torch.Generator().manual_seed(rows * 1000 + columns)
    return (torch.randn(rows, columns, generator=generator) * 0.02).to(dtype)


def write(name, tensors, truth, metadata=None, tensor=LAYER + ".weight"):
    tensors = {key: value.detach().contiguous() for key, value in tensors.items()}
    save_file(tensors, os.path.join(FOLDER, name + ".safetensors"), metadata=metadata)
    save_file({tensor: truth.detach().float().contiguous()}, os.path.join(FOLDER, name + ".truth.safetensors"))
    print(name, {key: (str(value.dtype), tuple(value.shape)) for key, value in tensors.items()})


def linear(dtype=torch.float32, columns=COLUMNS):
    module = torch.nn.Module()
    module.blk = torch.nn.ModuleList([torch.nn.Module()])
    module.blk[0].q = torch.nn.Linear(columns, ROWS, bias=False, dtype=dtype)
    module.blk[0].q.weight.data = weight(columns=columns, dtype=dtype)
    return module


def bitsandbytes():
    import bitsandbytes as bnb
    for kind in ("nf4", "fp4"):
        for double in (False, True):
            layer = bnb.nn.Linear4bit(COLUMNS, ROWS, bias=False, quant_type=kind, compress_statistics=double)
            layer.weight = bnb.nn.Params4bit(weight(), requires_grad=False, quant_type=kind, compress_statistics=double)
            layer = layer.to("cpu")
            if layer.weight.quant_state is None:
                layer.weight = layer.weight._quantize("cpu")
            state = {}
            layer._save_to_state_dict(state, LAYER + ".", False)
            truth = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
            write(f"bitsandbytes_{kind}{'_double' if double else ''}", state, truth)
    codes, scales, _ = bnb.functional.int8_vectorwise_quant(weight(dtype=torch.float16))
    write("bitsandbytes_int8", {LAYER + ".weight": codes, LAYER + ".SCB": scales,
                                LAYER + ".weight_format": torch.tensor(0, dtype=torch.uint8)},
          bnb.functional.int8_vectorwise_dequant(codes, scales))


def quanto():
    from optimum import quanto as q
    from optimum.quanto.tensor.packed import PackedTensor
    # As the library's own Python does it, which compiles an extension first otherwise.
    PackedTensor.unpack = lambda self: torch.cat(
        [(self._data >> low) & (2 ** self._bits - 1) for low in range(0, 8, self._bits)])[: self.shape[0]]
    for kind in (q.qint8, q.qfloat8_e4m3fn, q.qint4, q.qint2):
        module = linear()
        if kind in (q.qint4, q.qint2):  # in two runs of 128, which the bias tells
            module.blk[0].q = torch.nn.Linear(256, ROWS)
            module.blk[0].q.weight.data = weight(columns=256)
            module.blk[0].q.bias.data.zero_()
        q.quantize(module, weights=kind)
        q.freeze(module)
        write(f"quanto_{kind.name}", module.state_dict(), module.blk[0].q.weight.dequantize())


def torchao():
    from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, IntxWeightOnlyConfig, quantize_
    from torchao.quantization.granularity import PerGroup
    configs = {"int8": Int8WeightOnlyConfig(version=2), "float8": Float8WeightOnlyConfig(),
               "intx": IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(32))}
    for name, config in configs.items():
        module = linear()
        quantize_(module, config)
        truth = module.blk[0].q.weight.dequantize()
        tensors, metadata = flatten_tensor_state_dict(module.state_dict())
        write(f"torchao_{name}", tensors, truth, metadata)


def compressed_tensors():
    from compressed_tensors.compressors.base import BaseCompressor
    from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.lifecycle.forward import dequantize
    w = weight()
    runs = w.reshape(ROWS, -1, 32)

    def case(name, compressor, args, scale, zero=None, **more):
        scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**args))
        state = {"weight": w.clone(), "weight_scale": scale}
        if zero is not None:
            state["weight_zero_point"] = zero
        state.update(more)
        made = BaseCompressor.get_value_from_registry(compressor)
        packed = made.compress(state, scheme)
        if name == "nvfp4":  # which decompress() does in bfloat16
            truth = dequantize(x_q=unpack_fp4_from_uint8(packed["weight_packed"], ROWS, COLUMNS).float(),
                               scale=packed["weight_scale"].float(), args=scheme.weights,
                               global_scale=packed["weight_global_scale"], dtype=torch.float32)
        else:
            truth = made.decompress(dict(packed), scheme)["weight"]
        write("compressed_tensors_" + name, {f"{LAYER}.{key}": value for key, value in packed.items()}, truth)

    group = dict(type="int", strategy="group", group_size=32, symmetric=True)
    case("pack4", "pack-quantized", dict(group, num_bits=4), runs.abs().amax(2) / 7)
    case("pack3", "pack-quantized", dict(group, num_bits=3), runs.abs().amax(2) / 3)
    low, high = runs.amin(2), runs.amax(2)
    scale = (high - low) / 15
    case("pack4_asymmetric", "pack-quantized", dict(group, num_bits=4, symmetric=False), scale,
         (-8 - low / scale).round().clamp(-8, 7).to(torch.int8))
    scale = (high - low) / 255
    case("int8_asymmetric", "int-quantized", dict(group, num_bits=8, symmetric=False), scale,
         (-128 - low / scale).round().clamp(-128, 127).to(torch.int8))
    case("float8", "float-quantized", dict(type="float", strategy="channel", num_bits=8, symmetric=True),
         w.abs().amax(1, keepdim=True) / 448)
    whole = torch.tensor([448 * 6 / w.abs().max()])
    blocks = w.reshape(ROWS, -1, 16).abs().amax(2)
    case("nvfp4", "nvfp4-pack-quantized", dict(type="float", strategy="tensor_group", group_size=16, num_bits=4,
                                               symmetric=True),
         (blocks / 6 * whole).to(torch.float8_e4m3fn).float(), weight_global_scale=whole)


def sdnq():
    import sdnq.quantizer as sd

    def quantized(folder, name, kind, columns=COLUMNS, **more):
        module = sd.sdnq_post_load_quant(linear(columns=columns), weights_dtype=kind, minimum_allowed_numel=0,
                                         minimum_allowed_channel_size=0, modules_to_not_convert=[],
                                         add_skip_keys=False, dequantize_fp32=True, **{"group_size": -1, **more})
        state = {key: value.clone() for key, value in module.state_dict().items()}
        write(f"{folder}/{name}", state, module.blk[0].q.dequantize().weight)

    for name, kind, more in (("int8", "int8", {}), ("float8", "float8_e4m3fn", {}), ("uint8", "uint8", {}),
                             ("int8_runs", "int8", {"group_size": 32}),
                             ("int8_transposed", "int8", {"use_quantized_matmul": True}),
                             ("int8_svd", "int8", {"use_svd": True, "svd_rank": 8})):
        quantized("sdnq", name, kind, **more)
        quantized("sdnq_rotated", name, kind, use_hadamard=True, **more)
    for columns in (96, 256, 512):
        quantized("sdnq_rotated", f"int8_{columns}", "int8", columns=columns, use_hadamard=True)


def hqq():
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear
    for bits in (8, 4, 2):
        layer = torch.nn.Linear(COLUMNS, ROWS, bias=False)
        layer.weight.data = weight()
        made = HQQLinear(layer, BaseQuantizeConfig(nbits=bits, group_size=64), compute_dtype=torch.float32,
                         device="cpu")
        state = {f"{LAYER}.{key}": value for key, value in made.state_dict().items()}
        write(f"hqq_{bits}", state, made.dequantize())


def mxfp4():
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors
    generator = torch.Generator().manual_seed(3)
    blocks = torch.randint(0, 256, (2, 24, 4, 16), generator=generator, dtype=torch.uint8)
    scales = torch.randint(110, 130, (2, 24, 4), generator=generator, dtype=torch.uint8)
    truth = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    write("mxfp4_experts", {"mlp.experts.gate_up_proj_blocks": blocks, "mlp.experts.gate_up_proj_scales": scales}, truth,
          tensor="mlp.experts.gate_up_proj")


CASES = (bitsandbytes, quanto, torchao, compressed_tensors, sdnq, hqq, mxfp4)
os.makedirs(FOLDER, exist_ok=True)
for case in CASES:
    if len(sys.argv) > 1 and case.__name__ not in sys.argv[1:]:
        continue
    try:
        case()
    except Exception as error:
        print(case.__name__, "failed:", repr(error)[:600])
        raise SystemExit(1) if len(sys.argv) > 1 else error
