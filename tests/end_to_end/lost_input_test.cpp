// Inputs that cannot be mapped, and inputs that another program changes while they are read.
#include <iostream>

#include <catch2/catch.hpp>

#include "support/clip_g_checkpoint.h"
#include "support/make_checkpoint.h"
#include "support/preload_library.h"
#include "support/run_binary.h"

using namespace ctq::test;
using ctq::safetensors::Dtype;
using Words = std::vector<std::string>;

namespace {

/// NVFP4 as ModelOpt stores it, but for the values: codes of two columns, scales of runs in rows, and a scale
/// of them.
std::vector<TestTensor> nvfp4_without_markers() {
  const auto byte = [](int64_t i) { return static_cast<uint8_t>(i * 37 % 251); };
  const auto scale = [](int64_t i) { return static_cast<uint8_t>(0x28 + i * 7 % 40); };
  return {
      tensor("blk.0.q.weight", Dtype::kU8, {200, 128}, elements<uint8_t>(200 * 128, byte)),
      tensor("blk.0.q.weight_scale", Dtype::kF8E4M3, {200, 16}, elements<uint8_t>(200 * 16, scale)),
      tensor("blk.0.q.weight_scale_2", Dtype::kF32, {}, elements<float>(1, [](int64_t) { return 0.01f; })),
      bf16_vector("blk.0.norm.weight", 256)};
}

/// A model, a quantized file of it, a file of another program, a text encoder and a LoRA.
class Folder {
 public:
  Folder() {
    make_checkpoint(model(),
                    {bf16_weight("blk.0.q.weight", 256, 256), bf16_weight("blk.0.up.weight", 256, 256),
                     bf16_vector("blk.0.norm.weight", 256), bf16_weight("plain", 256, 256)});
    run_expecting({"-i", model(), "-o", *this / "q.safetensors", "--fp8", "--simple", "--no-comfy_quant"}, 0);
    make_checkpoint(*this / "nvfp4.safetensors", nvfp4_without_markers());
    make_checkpoint(*this / "clip.safetensors", clip_g_tensors(32));
    make_checkpoint(*this / "lora.safetensors", {bf16_weight("blk.0.q.lora_A.weight", 64, 256),
                                                 bf16_weight("blk.0.q.lora_B.weight", 256, 64)});
  }
  std::string operator/(std::string_view name) const { return dir_ / name; }
  std::string model() const { return *this / "in.safetensors"; }
  Words entries() const { return dir_.entries(); }

 private:
  TempDir dir_;
};

struct Command {
  std::string input;  ///< the file that suffers
  Words words;        ///< "@name" is a file of the folder
};

const std::vector<Command> kCommands = {
    {"in.safetensors",
     {"-i", "@in.safetensors", "-o", "@o.safetensors", "--recipe", "comfy-fp8", "--simple"}},
    {"in.safetensors",
     {"-i", "@in.safetensors", "-o", "@o.safetensors", "--int8", "--no-resume", "--threads", "1"}},
    {"in.safetensors", {"-i", "@in.safetensors", "-o", "@o.safetensors", "--fp16"}},
    {"in.safetensors",
     {"-i", "@in.safetensors", "-o", "@o.safetensors", "--fp8", "--time", "1m", "--comfy_quant"}},
    {"in.safetensors", {"-i", "@in.safetensors", "-o", "@o.safetensors", "--target-size", "300KB", "--fp8"}},
    {"lora.safetensors",
     {"-i", "@in.safetensors", "-o", "@o.safetensors", "--fp8", "--merge-lora", "@lora.safetensors",
      "--simple"}},
    {"in.safetensors", {"fp8", "@in.safetensors", "-o", "@o.safetensors", "--num_iter", "5"}},
    {"clip.safetensors", {"clip-g", "-i", "@clip.safetensors", "-o", "@o.safetensors"}},
    {"q.safetensors", {"dequantize", "@q.safetensors", "-o", "@o.safetensors"}},
    {"nvfp4.safetensors", {"dequantize", "@nvfp4.safetensors", "-o", "@o.safetensors"}},
    {"nvfp4.safetensors", {"migrate", "add-markers", "-i", "@nvfp4.safetensors", "-o", "@o.safetensors"}},
    {"q.safetensors", {"migrate", "fp8-scaled", "-i", "@q.safetensors", "-o", "@o.safetensors"}},
    {"q.safetensors", {"-i", "@q.safetensors", "-o", "@o.safetensors", "--requantize", "--int8", "--simple"}},
    {"q.safetensors", {"verify", "@q.safetensors", "--original", "@in.safetensors"}},
    {"in.safetensors", {"compare", "@in.safetensors", "@q.safetensors"}},
    {"in.safetensors",
     {"extract-lora", "@in.safetensors", "--quantized", "@q.safetensors", "-o", "@o.safetensors"}},
    {"in.safetensors", {"analyze", "@in.safetensors", "--fp8", "--error"}},
};

Outcome run(const Folder& files, const Command& command, const PreloadLibrary& library,
            const std::string& does) {
  Words words;
  for (const std::string& word : command.words)
    words.push_back(word[0] == '@' ? files / word.substr(1) : word);
  return run_binary(words, library.prefix("/" + command.input, does));
}

bool is_absent(const PreloadLibrary& library) {
  if (!library.built()) std::cout << "[skipped] there is no C compiler\n";
  return !library.built();
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("files that cannot be mapped are read: the same output, byte for byte", "[end_to_end]") {
  const PreloadLibrary library;
  if (is_absent(library)) return;
  for (const Command& command : kCommands) {
    if (command.words[0] == "extract-lora") continue;  // needs more than rounding to differ in
    const Folder mapped, read;
    CAPTURE(command.words);
    const Outcome expected = run(mapped, command, library, "nothing");
    REQUIRE(expected.code == 0);
    for (const char* how : {"refuse", "refuse_shared"}) {
      const Outcome outcome = run(read, command, library, how);
      INFO(how << ": " << outcome.err << outcome.out);
      CHECK(outcome.code == expected.code);
      CHECK(std::filesystem::exists(read / "o.safetensors") ==
            std::filesystem::exists(mapped / "o.safetensors"));
      CHECK(read_file(read / "o.safetensors") == read_file(mapped / "o.safetensors"));
    }
  }
}

TEST_CASE("files that cannot be mapped: a bad header is still named", "[end_to_end]") {
  const PreloadLibrary library;
  if (is_absent(library)) return;
  const TempDir dir;
  const auto [content, says] =
      GENERATE(table<std::string, std::string>({{std::string("\xff\0\0\0\0\0\0\0{}", 10), "header"},
                                                {std::string(8, '\xff') + std::string(5000, 'x'), "header"},
                                                {std::string("GGUF") + std::string(40, '\0'), "GGUF"},
                                                {"abc", "in.safetensors"}}));
  write_file(dir / "in.safetensors", content);
  const Outcome outcome = run_binary({"-i", dir / "in.safetensors", "-o", dir / "o.safetensors", "--fp8"},
                                     library.prefix("/in.safetensors", "refuse"));
  INFO(outcome.err);
  CHECK(outcome.code == 4);
  CHECK(has(outcome.err, says));
}

TEST_CASE("an input that is truncated meanwhile is one clear error of every command", "[end_to_end]") {
  const PreloadLibrary library;
  if (is_absent(library)) return;
  for (const Command& command : kCommands) {
    const Folder files;
    const Words before = files.entries();
    const Outcome outcome = run(files, command, library, "truncate:8192");
    CAPTURE(command.words);
    INFO(outcome.err << outcome.out);
    CHECK(outcome.code == 4);
    CHECK(has(outcome.err, files / command.input + ": "));
    CHECK(has(outcome.err, "truncated while it was read"));
    CHECK(files.entries() == before);
  }
}

TEST_CASE("an input that is written to meanwhile is an error: its output would be of two versions",
          "[end_to_end]") {
  const PreloadLibrary library;
  if (is_absent(library)) return;
  for (const Command& command : kCommands) {
    const Folder files;
    const Words before = files.entries();
    const Outcome outcome = run(files, command, library, "write");
    CAPTURE(command.words);
    INFO(outcome.err << outcome.out);
    CHECK(outcome.code == 4);
    CHECK(has(outcome.err, files / command.input + ": the file was written to while it was read"));
    CHECK(files.entries() == before);
  }
}

TEST_CASE("a file of a batch that is truncated leaves the others be", "[end_to_end]") {
  const PreloadLibrary library;
  if (is_absent(library)) return;
  const Folder files;
  const TempDir out;
  make_checkpoint(files / "other.safetensors", {bf16_weight("a.weight", 64, 64)});
  const Outcome outcome = run_binary({"batch", files / "in.safetensors", files / "other.safetensors", "--fp8",
                                      "--simple", "--output-dir", out.path().string(), "-y"},
                                     library.prefix("/in.safetensors", "truncate:8192"));
  INFO(outcome.err << outcome.out);
  CHECK(outcome.code == 4);
  CHECK(out.entries() == Words{"other_simple_fp8_tensor.safetensors"});
}
