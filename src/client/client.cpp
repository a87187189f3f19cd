#include "client/client.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/text.h"
#include "format_table.h"

namespace ctq::client {
namespace {

struct Word {
  std::string_view word;
  Program program;
  std::string_view name;
};

constexpr Word kWords[] = {
    {"comfyui", Program::kComfyUi, "ComfyUI"},
    {"custom", Program::kComfyUiNodes, "ComfyUI with custom nodes"},
    {"sd.cpp", Program::kStableDiffusionCpp, "stable-diffusion.cpp"},
    {"forge", Program::kForge, "Forge Neo"},
    {"diffusers", Program::kDiffusers, "diffusers"},
    {"any", Program::kAny, "any program"},
};

const Word& word_of(Program program) { return *std::ranges::find(kWords, program, &Word::program); }

/// "0.33", "v0.3.64".
std::optional<Version> parse_version(std::string_view text) {
  if (text.starts_with('v')) text.remove_prefix(1);
  std::array<int, 3> numbers{};
  size_t count = 0;
  const char *at = text.data(), *end = at + text.size();
  while (count < numbers.size()) {
    const auto [rest, fault] = std::from_chars(at, end, numbers[count]);
    if (fault != std::errc() || numbers[count] < 0) return std::nullopt;
    ++count;
    at = rest;
    if (at == end) return Version{numbers[0], numbers[1], numbers[2]};
    if (*at++ != '.') return std::nullopt;
  }
  return std::nullopt;
}

std::string comfyui_obstacle(const Client& client, std::string_view format) {
  const Version version = client.version.value_or(kNewestComfyUi);
  const auto* row = std::ranges::find(comfyui_formats(), format, &Release::format).base();
  if (row != comfyui_formats().data() + comfyui_formats().size()) {
    if (version >= row->since) return "";
    return fmt::format("ComfyUI {} does not know {}, which {} was the first to read", version.text(), format,
                       row->since.text());
  }
  for (const Reader& reader : other_readers()) {
    if (reader.format == format)
      return fmt::format("ComfyUI {} does not know {}, which is read by {}", version.text(), format,
                         reader.name);
  }
  return fmt::format("ComfyUI {} does not know {}", version.text(), format);
}

std::string nodes_obstacle(const Client& client, std::string_view format) {
  if (std::ranges::find(other_readers(), format, &Reader::format) != other_readers().end()) return "";
  return comfyui_obstacle(client, format);
}

std::string sd_cpp_obstacle(std::string_view format, Scales scales) {
  if (format == "float8_e4m3fn" || format == "float8_e5m2" || format == "float8_e4m3fn_rowwise") return "";
  if (format == "int8_tensorwise")
    return scales == Scales::kOne ? "stable-diffusion.cpp reads INT8 with a scale per row only" : "";
  return fmt::format("stable-diffusion.cpp does not read {}", format);
}

}  // namespace

std::string Version::text() const {
  return patch ? fmt::format("{}.{}.{}", major, minor, patch) : fmt::format("{}.{}", major, minor);
}

std::string Client::word() const {
  const std::string_view word = word_of(program).word;
  return version ? fmt::format("{}@{}", word, version->text()) : std::string(word);
}

std::string Client::name() const {
  const std::string_view name = word_of(program).name;
  return version ? fmt::format("{} {}", name, version->text()) : std::string(name);
}

std::vector<std::string_view> client_words() {
  std::vector<std::string_view> words;
  for (const Word& word : kWords) words.push_back(word.word);
  return words;
}

Client parse_client(std::string_view text) {
  const size_t at = std::min(text.find('@'), text.size());
  const auto* word = std::ranges::find(kWords, text.substr(0, at), &Word::word);
  if (word == std::end(kWords))
    fail(ErrorCode::kUsage, "'{}' is no client that is known here; choose from {}", printable(text),
         fmt::join(client_words(), ", "));
  Client client{.program = word->program, .version = {}};
  if (at == text.size()) return client;
  if (client.program != Program::kComfyUi && client.program != Program::kComfyUiNodes)
    fail(ErrorCode::kUsage, "'{}': the versions of {} are not told apart here; write {}", printable(text),
         word->name, word->word);
  client.version = parse_version(text.substr(at + 1));
  if (!client.version)
    fail(ErrorCode::kUsage, "'{}': '{}' is no version; write {}@{}", printable(text),
         printable(text.substr(at + 1)), word->word, kNewestComfyUi.text());
  return client;
}

std::string format_obstacle(const Client& client, std::string_view format, Scales scales) {
  switch (client.program) {
    case Program::kAny: return "";
    case Program::kComfyUi: return comfyui_obstacle(client, format);
    case Program::kComfyUiNodes: return nodes_obstacle(client, format);
    case Program::kStableDiffusionCpp: return sd_cpp_obstacle(format, scales);
    case Program::kForge:
      return format == "float8_e4m3fn" || format == "int8_tensorwise"
                 ? ""
                 : fmt::format("Forge Neo is not known to read {}", format);
    case Program::kDiffusers:
      return format == "float8_e4m3fn_rowwise"
                 ? ""
                 : fmt::format("diffusers reads FP8 with a scale per row (BFLQuantizationConfig), not {}",
                               format);
  }
  return "";
}

bool reads_input_scale(std::string_view format) { return format == "nvfp4" || format.starts_with("float8_"); }

std::string input_factor_obstacle(const Client& client, std::string_view format) {
  const auto read_for_nvfp4 = [&] {
    return format == "nvfp4" ? ""
                             : fmt::format("pre_quant_scale is read for nvfp4 alone, not for {}", format);
  };
  switch (client.program) {
    case Program::kAny: return read_for_nvfp4();
    case Program::kComfyUi:
    case Program::kComfyUiNodes: {
      const Version version = client.version.value_or(kNewestComfyUi);
      if (version >= kInputFactors) return read_for_nvfp4();
      return fmt::format("ComfyUI {} does not read pre_quant_scale, which {} was the first to read",
                         version.text(), kInputFactors.text());
    }
    default: return fmt::format("{} does not read pre_quant_scale", client.name());
  }
}

std::optional<Client> implied_by(std::string_view format) {
  if (comfyui_obstacle({}, format).empty()) return std::nullopt;
  return Client{.program = Program::kComfyUiNodes, .version = {}};
}

bool is_stock(const format::Codec& codec) {
  return codec.scale_type != format::ScaleType::kLogarithmic && !implied_by(codec.format);
}

OtherReader other_reader(std::string_view format) {
  for (const Reader& reader : other_readers()) {
    if (reader.format == format) return {reader.name, reader.instead};
  }
  return {};
}

}  // namespace ctq::client
