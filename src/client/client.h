// The programs that load quantized files, by version, and which formats each reads (docs/clients.md).
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/codec.h"

namespace ctq::client {

enum class Program : uint8_t {
  kComfyUi,       ///< ComfyUI as it is published
  kComfyUiNodes,  ///< ComfyUI with a node for the formats that it lacks
  kStableDiffusionCpp,
  kForge,      ///< Forge Neo
  kDiffusers,  ///< the diffusers library with a configuration for the file
  kAny,        ///< no program in particular: what none could read
};

struct Version {
  int major = 0, minor = 0, patch = 0;

  auto operator<=>(const Version&) const = default;
  std::string text() const;  ///< "0.33", "0.3.64"
};

struct Client {
  Program program = Program::kComfyUi;
  std::optional<Version> version = {};  ///< nothing: the newest that is known here

  auto operator<=>(const Client&) const = default;
  std::string word() const;  ///< "comfyui", "comfyui@0.29": as parse_client() takes it
  std::string name() const;  ///< "ComfyUI 0.29": for people
};

/// The words before an '@': "comfyui", "custom", "sd.cpp", "forge", "diffusers", "any".
std::vector<std::string_view> client_words();

/// "comfyui@0.29".
/// throws  Error(kUsage): an unknown word, a version that is none, or a version of a program whose versions
///         are not told apart here
Client parse_client(std::string_view text);

/// What shares a scale, where a format's name stands for more than one.
enum class Scales : uint8_t { kOne, kRows, kOther };

/// Why a client reads no layer of a format: "ComfyUI 0.29 does not know asym_w4a8_int8, which 0.31 was the
/// first to read"; empty where it reads the format. format: the marker's word
std::string format_obstacle(const Client& client, std::string_view format, Scales scales = Scales::kOther);

/// Why a client does not multiply a layer's input by `<layer>.pre_quant_scale`: "ComfyUI 0.30 does not read
/// pre_quant_scale, which 0.31 was the first to read"; empty where it does. format: the marker's word
std::string input_factor_obstacle(const Client& client, std::string_view format);

/// Whether any client looks at `<layer>.input_scale` of a format: of FP8 and NVFP4. Those of INT8 and of the
/// other formats scale inputs themselves. format: the marker's word
bool reads_input_scale(std::string_view format);

/// The client that a format is made for, where ComfyUI as it is published does not read it; nothing where it
/// does.
std::optional<Client> implied_by(std::string_view format);

/// Whether the newest ComfyUI, as it is published, reads what a codec writes.
bool is_stock(const format::Codec& codec);

/// Who reads a format that ComfyUI lacks, and which one of its kind ComfyUI reads; empty where it lacks none.
struct OtherReader {
  std::string_view name;     ///< "ComfyUI-QuantOps"
  std::string_view instead;  ///< "float8_e4m3fn"
};
OtherReader other_reader(std::string_view format);

}  // namespace ctq::client
