#include "format_table.h"

namespace ctq::client {
namespace {

constexpr Release kComfyUi[] = {
    {"float8_e4m3fn", kFirstMarkers},
    {"float8_e5m2", {0, 8, 0}},
    {"nvfp4", {0, 8, 0}},
    {"mxfp8", {0, 18, 0}},
    {"int8_tensorwise", {0, 27, 0}},
    {"convrot_w4a4", {0, 28, 0}},
    {"asym_w4a8_int8", {0, 31, 0}},
    {"awq_w4a16", {0, 34, 0}},
};

constexpr std::string_view kFp8 = "float8_e4m3fn", kInt8 = "int8_tensorwise";
constexpr std::string_view kQuantOps = "ComfyUI-QuantOps", kWanInt8 = "ComfyUI-Wan-INT8";

constexpr Reader kOthers[] = {
    {"float8_e4m3fn_rowwise", "ComfyUI-QuantOps, diffusers and stable-diffusion.cpp", kFp8},
    {"float8_e4m3fn_blockwise", kQuantOps, kFp8},
    {"float8_e4m3fn_block3d", kQuantOps, kFp8},
    {"hybrid_mxfp8", "ComfyUI-QuantOps with a comfy-kitchen that has the layout", "mxfp8"},
    {"int8_blockwise", kQuantOps, kInt8},
    {"int8_axiswise", kWanInt8, kInt8},
    {"int8_rowwise", kWanInt8, kInt8},
    {"int8_quip_hadamard", "ComfyUI-Wan-INT8 with INT8_HADAMARD_QUIP=1", kInt8},
};

}  // namespace

std::span<const Release> comfyui_formats() { return kComfyUi; }

std::span<const Reader> other_readers() { return kOthers; }

}  // namespace ctq::client
