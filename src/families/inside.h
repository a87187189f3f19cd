// Prefixes of the text encoders inside whole checkpoints that read codes and scales there, by ComfyUI's class
// of the checkpoint (comfy/supported_models.py) and by loading each. The others beside them, as CLIP-L and
// byT5, do not.
#pragma once

#include <string_view>

namespace ctq::families::inside {

inline constexpr std::string_view kT5xxl[] = {"text_encoders.t5xxl.transformer."};
inline constexpr std::string_view kT5xxlOld[] = {"cond_stage_model.t5xxl.transformer."};
inline constexpr std::string_view kUmt5xxl[] = {"text_encoders.umt5xxl.transformer."};
inline constexpr std::string_view kLlama[] = {"text_encoders.llama.transformer."};
inline constexpr std::string_view kQwen25_7b[] = {"text_encoders.qwen25_7b.transformer."};
inline constexpr std::string_view kQwen25_3b[] = {"text_encoders.qwen25_3b.transformer."};
inline constexpr std::string_view kHunyuanImage[] = {"text_encoders.qwen25_7b.transformer.",
                                                     "text_encoders.llama.transformer."};
inline constexpr std::string_view kFlux2[] = {"text_encoders.qwen3_4b.transformer.",
                                              "text_encoders.qwen3_8b.transformer.",
                                              "text_encoders.mistral3_24b.transformer."};
inline constexpr std::string_view kQwen3_06b[] = {"cond_stage_model.qwen3_06b.transformer."};
inline constexpr std::string_view kQwen3_4b[] = {"text_encoders.qwen3_4b.transformer."};
inline constexpr std::string_view kAceStep15[] = {"text_encoders.qwen3_2b.transformer.",
                                                  "text_encoders.qwen3_4b.transformer."};
inline constexpr std::string_view kQwen3Vl4b[] = {"text_encoders.qwen3vl_4b.transformer."};
inline constexpr std::string_view kQwen3Vl8b[] = {"text_encoders.qwen3vl_8b.transformer."};
inline constexpr std::string_view kQwen3Vl32b[] = {"text_encoders.qwen3vl_32b.transformer."};
inline constexpr std::string_view kGemma2[] = {"text_encoders.gemma2_2b.transformer."};
inline constexpr std::string_view kMinistral[] = {"text_encoders.ministral3_3b.transformer."};
inline constexpr std::string_view kGptOss[] = {"text_encoders.gpt_oss.transformer."};

}  // namespace ctq::families::inside
